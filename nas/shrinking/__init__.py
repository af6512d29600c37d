"""Shrinking design spaces: rules with evidence from results tables, child spaces, and their confirmation.

Tables in, rules out; no network, no database. `derive_findings` says what a table speaks for, `propose_child` cuts the
space, `confirm` compares fresh draws from both, `confirmed_findings` keeps or undoes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
