"""Retrieval: from features to mAP, CMC, mINP, re-ranking, rank lists and verification rates."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
