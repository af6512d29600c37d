"""Training: recipes, losses, schedule, the trainer, checkpoints and features.

Names load when first used, so that recipes can be read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
