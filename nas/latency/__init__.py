"""Milliseconds a network needs on a device: measured, and tabulated by placement.

`measure` times one network by a `LatencyProtocol`; `nas.latency.placements` times every block at every site of a
design space; `nas.results.additive` adds the parts up; `nas.latency.exchange` brings a device elsewhere
into a study. Names are loaded when first used, so nothing here imports torch by itself.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
