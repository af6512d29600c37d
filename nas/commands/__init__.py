"""What the commands do, as functions: the same names, arguments and results, for scripts and notebooks.

`nas.cli` parses, calls these and prints. Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
