"""Data: readers, views, the packed image store, batched augmentation, PK sampling, the generated set, checks.

Names load on first use, so that the torch-free half (settings, readers, views) stays without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
