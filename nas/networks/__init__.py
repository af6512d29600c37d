"""Networks: backbones with sites, attention blocks, the re-identification head, their cost and their export.

`build_network` turns a candidate into a module; nothing above this floor is needed to build and run one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
