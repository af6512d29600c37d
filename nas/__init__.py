"""Placement search for attention blocks in person re-identification networks.

The public face of the package. Names, listed in `__init__.pyi`, are loaded when first used, so that `import nas` costs
milliseconds and a table can be analysed on a machine without torch. The rooms inside do the same.
"""

import lazy_loader

from nas.spaces import sites as _sites

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def _look_at(backbone: str, last_stride: int | None) -> _sites.Topology:
    """Spaces know nothing of networks; who asks for a backbone without a table needs torch."""
    from nas.networks.survey import topology

    return topology(backbone, last_stride)


_sites.look_at = _look_at
