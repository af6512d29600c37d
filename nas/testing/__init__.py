"""What methods are judged on: landscapes with planted rules, tables of real trainings, and what counts as finding them.

For tests, benchmarks and people who try a method of their own; no part of a study.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
