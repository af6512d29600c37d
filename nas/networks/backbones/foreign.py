"""Backbones that do not come with this package: timm's convolutional networks by name, classes of one's own, and those
of installed packages."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nas.errors import SpaceError, closest
from nas.networks.timm_package import timm_module
from nas.spaces.own_code import TIMM
from nas.spaces.plugins import find_part


class FeaturesFirst(nn.Module):
    """Ahead of a network's own class: its features are what comes out."""

    forward_features: Any

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, h, w)."""
        features: Tensor = self.forward_features(images)
        return features

    def __reduce_ex__(self, protocol: Any) -> Any:
        """To be copied and pickled: a network of the author's class, which is found by its name, and put ahead anew."""
        return _new_ahead, (type(self).__bases__[1],), self.__getstate__()  # type: ignore[no-untyped-call]


def _new_ahead(kind: type[nn.Module]) -> nn.Module:
    return _ahead(kind.__new__(kind))


def _ahead(network: nn.Module) -> nn.Module:
    """The network with `FeaturesFirst` ahead of its class."""
    kind = type(network)
    network.__class__ = type(kind.__name__, (FeaturesFirst, kind), {"__module__": kind.__module__})
    return network


def foreign_class(backbone: str) -> Any:
    """What makes the networks of a foreign backbone: a class of one's own, or timm's function for the name.

    Raises:
        SpaceError: unknown, not installed, not trusted, or no `nn.Module`.
    """
    if backbone.startswith(TIMM):
        return _timm_entry(backbone)
    found = find_part("backbone", backbone, {})
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise SpaceError(f"backbone {backbone!r} must be a subclass of torch.nn.Module, not {found!r}")
    return found


def _timm_entry(backbone: str) -> Any:
    timm = timm_module("timm", f"backbone {backbone!r}")
    name, dot, tag = backbone.removeprefix(TIMM).partition(".")
    if dot:
        raise SpaceError(
            f"backbone {backbone!r}: {tag!r} names weights, not a network", f"Write {TIMM}{name}, and weights: {tag}."
        )
    if not timm.is_model(name):
        known = timm.list_models()
        guess = closest(name, known)
        meant = f"; did you mean {TIMM}{guess}?" if guess else ""
        raise SpaceError(
            f"timm {timm.__version__} has no network {name!r}{meant}", f"timm.list_models() has all {len(known)} names."
        )
    return timm.model_entrypoint(name)


def build_foreign(backbone: str) -> nn.Module:
    """A network without pooling and classifier, with fresh weights; its parameters keep their authors' names.

    A class of one's own is called without arguments. What has a `forward_features` runs that alone.

    Raises:
        SpaceError: as `foreign_class`; or it cannot be made.
    """
    made = foreign_class(backbone)
    try:
        network: nn.Module = made(pretrained=False) if backbone.startswith(TIMM) else made()
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SpaceError(f"backbone {backbone} cannot be made: {said}") from error
    return _ahead(network) if hasattr(network, "forward_features") else network


def weight_tags(backbone: str) -> dict[str, str]:
    """Tags of timm's published weights, and where each lies on the hub; none for code of one's own.

    >>> weight_tags("timm:resnet18")["a1_in1k"]
    'timm/resnet18.a1_in1k'
    """
    if not backbone.startswith(TIMM):
        return {}
    foreign_class(backbone)  # refuses unknown names
    names = timm_module("timm", f"backbone {backbone!r}").list_pretrained(backbone.removeprefix(TIMM) + ".*")
    return {name.partition(".")[2]: f"timm/{name}" for name in names}


def refusal(backbone: str, network: nn.Module) -> str | None:
    """Why blocks cannot stand in a network of timm's, where it says so itself; None when it does not."""
    if not backbone.startswith(TIMM):
        return None
    if getattr(network, "output_fmt", "NCHW") not in ("NCHW", None):
        return f"its maps are (B, h, w, C), {network.output_fmt} and not NCHW"
    if getattr(network, "cls_token", None) is not None or hasattr(network, "pos_embed"):
        return "it is a transformer: its features are tokens, not maps (B, C, h, w)"
    fixed: Any = getattr(network, "pretrained_cfg", {})
    if fixed.get("fixed_input_size"):
        return "it takes images of {}x{} alone".format(*fixed["input_size"][1:])
    return None
