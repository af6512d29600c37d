"""Design spaces: candidates, the rules they obey, and files in which a person states both.

Nothing here loads a network. Candidates, blocks and sites come at once; spaces and rules, which need pydantic and
YAML, are loaded where they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
