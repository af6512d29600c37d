"""ShuffleNet v2 (Ma et al., ECCV 2018) and MobileNet v3 (Howard et al., ICCV 2019): torchvision's, without heads."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType

from torch import nn
from torchvision.models import mobilenet_v3_large, mobilenet_v3_small
from torchvision.models.shufflenetv2 import ShuffleNetV2

_HEADS = frozenset({"avgpool", "fc", "classifier"})
_MOBILENETS = MappingProxyType({"mobilenet_v3_small": mobilenet_v3_small, "mobilenet_v3_large": mobilenet_v3_large})
_SHUFFLENET_REPEATS = [4, 8, 4]
_SHUFFLENET_CHANNELS = MappingProxyType(
    {"shufflenet_v2_x1_0": (24, 116, 232, 464, 1024), "shufflenet_v2_x2_0": (24, 244, 488, 976, 2048)}
)


def shufflenet_trunk(name: str, width: float) -> nn.Sequential:
    """conv1, maxpool, stage2 ... stage4, conv5; channels are kept even, as the split into two branches needs."""
    channels = [max(2, 2 * round(c * width / 2)) for c in _SHUFFLENET_CHANNELS[name]]
    return _without_head(ShuffleNetV2(_SHUFFLENET_REPEATS, channels))


def mobilenet_trunk(name: str, width: float) -> nn.Sequential:
    """features; channels are rounded to multiples of 8 as torchvision does."""
    return _without_head(_MOBILENETS[name](weights=None, width_mult=width))


def _without_head(model: nn.Module) -> nn.Sequential:
    """The children before the head, which torchvision registers in the order it calls them."""
    return nn.Sequential(OrderedDict((name, child) for name, child in model.named_children() if name not in _HEADS))
