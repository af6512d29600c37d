"""What every attention block is: a module from a feature map to a feature map of the same shape, with a declaration.

A block declares its `spec` (name, family, hyperparameters), the shapes it takes, whether it starts as the identity,
and what it costs; it is built only through `build`, which checks all of that. Where blocks are placed is decided by
`nas.networks.network`, what may be searched by `nas.spaces`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nas.errors import SpaceError, TrainingError, unknown_name
from nas.networks.counting import ImageCost, count_cost
from nas.networks.shapes import FeatureShape
from nas.spaces.blocks import IDENTITY, PUBLISHED, START, UNIT_GATE, BlockSpec

Form = Literal["fast", "plain"]
FORMS: tuple[Form, ...] = ("fast", "plain")


class AttentionBlock(nn.Module):
    """A block that can be placed at a site: `forward` maps (B, C, H, W) to (B, C, H, W).

    A subclass sets `spec` and takes `(shape, **hyperparameters)` in its constructor; the rest has defaults. Minimal:

    >>> from nas.spaces.blocks import IDENTITY, PUBLISHED, START, UNIT_GATE, BlockSpec
    >>> class ChannelScale(AttentionBlock):
    ...     spec = BlockSpec("scale", "Scale", "channel-wise", (), "this page", "A learned factor a channel.")
    ...     def __init__(self, shape: FeatureShape) -> None:
    ...         super().__init__()
    ...         self.weight = nn.Parameter(torch.ones(shape.channels, 1, 1))
    ...     def forward(self, x: Tensor) -> Tensor:
    ...         return x * self.weight
    >>> ChannelScale.params_formula(FeatureShape(64, 8, 4))
    64

    Attributes:
        spec: name, family, hyperparameters with domains and defaults, source.
        gate_scale: factor of the gates, 2 where they start at 1.
        params_text, macs_text: the cost formulas as people read them (C channels, N positions, r reduction).
        forms: "plain" computes the definition as written, "fast" the same values sooner or in less memory.
        form: the form of this instance.
    """

    spec: ClassVar[BlockSpec]
    params_text: ClassVar[str] = "counted"
    macs_text: ClassVar[str] = "counted"
    forms: ClassVar[tuple[Form, ...]] = ("plain",)
    form: Form = "plain"

    gate_scale: float = 1.0

    def gate(self, x: Tensor) -> Tensor | None:
        """The factor of a block that only scales its input, out = x * gate(x); None for any other block.

        It broadcasts over (B, C, H, W). A block that has it is put in as the identity at no cost a position.
        """
        return None

    def open_gates(self) -> None:
        """Makes gates 2 sigmoid(z) with z = 0 at first: 1, and free to go either way (`start: unit_gate`)."""
        self.gate_scale = 2.0

    def to_gate(self, z: Tensor) -> Tensor:
        """sigmoid(z), doubled where the block was put in with open gates."""
        gate = torch.sigmoid(z)
        return gate if self.gate_scale == 1.0 else self.gate_scale * gate

    @classmethod
    def build(cls, shape: FeatureShape, *, form: Form = "fast", **params: Any) -> AttentionBlock:
        """Makes the block for a feature map of that shape, in the form that its `start` asks for.

        Args:
            shape: of the feature map at the site.
            form: "fast" or "plain"; a block with one form ignores it.
            params: hyperparameters of `spec`; defaults are filled in.

        Raises:
            SpaceError: for an unknown form or hyperparameter, an illegal value, or a shape the block cannot take.
        """
        if form not in FORMS:
            raise SpaceError(unknown_name("form of a block", form, FORMS))
        values = dict(cls.spec.complete(params))
        start = values.pop(START, PUBLISHED)
        reason = cls.refusal(shape, **values)
        if reason is not None:
            raise SpaceError(f"block {cls.spec.name!r} cannot be built for a {shape} feature map: {reason}")
        block = cls(shape, **values)
        block.form = form if form in cls.forms else cls.forms[0]
        if start == UNIT_GATE:
            block.open_gates()
        return IdentityStart(block) if start == IDENTITY else block

    @classmethod
    def refusal(cls, shape: FeatureShape, **params: Any) -> str | None:
        """Why the block cannot take feature maps of that shape, or None when it can."""
        return None

    @classmethod
    def accepts(cls, shape: FeatureShape, **params: Any) -> bool:
        """Whether the block can take feature maps of that shape."""
        return cls.refusal(shape, **cls.complete(params)) is None

    @classmethod
    def identity_at_insertion(cls, **params: Any) -> bool:
        """Whether a newly built block returns its input unchanged, so that trained features pass through."""
        return cls.spec.is_identity(params)

    @classmethod
    def tied_to_input_size(cls, **params: Any) -> bool:
        """Whether parameters depend on height and width, so that only one input size fits."""
        return False

    @classmethod
    def complete(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """The hyperparameters with defaults filled in."""
        return dict(cls.spec.complete(params))

    @classmethod
    def params_formula(cls, shape: FeatureShape, **params: Any) -> int:
        """Number of learned values as published; counted from a built block unless a subclass has a formula."""
        return cls._counted(shape, "plain", params).params

    @classmethod
    def macs_formula(cls, shape: FeatureShape, form: Form = "plain", **params: Any) -> int:
        """Multiply-accumulates of convolutions and matrix products for one image; counted unless overridden."""
        return cls._counted(shape, form, params).macs

    @classmethod
    def _counted(cls, shape: FeatureShape, form: Form, params: Mapping[str, Any]) -> ImageCost:
        with torch.device("meta"):
            block = cls.build(shape, form=form, **params).eval()
            return count_cost(block, torch.empty(1, shape.channels, shape.height, shape.width))

    def extra_repr(self) -> str:
        """Names the form in the printed module."""
        return f"form={self.form}"


class IdentityStart(AttentionBlock):
    """x + g (f(x) - x) with a learned g that starts at 0: any block f as the identity when it is put in.

    f is as published, and all of it once g is 1. For a block that only scales its input this is x * (1 + g (gate - 1)),
    so that g costs nothing a position, in training and as deployed. Source: ReZero (Bachlechner et al. 2020), around f.

    Attributes:
        block: f.
        share: g, one number.
    """

    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.block = block
        self.form = block.form
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        gate = self.block.gate(x)
        if gate is not None:
            return x * (1 + self.share * (gate - 1))
        changed: Tensor = self.block(x)
        return x + self.share * (changed - x)


class PooledNorm(nn.BatchNorm1d):
    """Batch normalisation of a pooled (B, C) vector: its statistics come from the B samples alone."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (B, C); raises `TrainingError` in training mode with a single sample."""
        if self.training and input.shape[0] == 1:
            raise TrainingError(
                "batch normalisation of pooled features needs at least 2 images a batch in training, got 1",
                "Use a larger batch, drop the last incomplete batch, or call .eval().",
            )
        return super().forward(input)


def pool(x: Tensor) -> Tensor:
    """Global average: (B, C, H, W) to (B, C); an operation that every export format knows."""
    return x.mean((2, 3))


def as_map(x: Tensor, like: Tensor) -> Tensor:
    """Positions in a row back on the map: (B, C, N) to (B, C, H, W) of `like`."""
    return x.reshape(*x.shape[:2], *like.shape[2:])


def over_map(gate: Tensor) -> Tensor:
    """A vector a sample as a factor for feature maps: (B, C) to (B, C, 1, 1)."""
    return gate[:, :, None, None]


def at_least_single(x: Tensor) -> Tensor:
    """Half precision becomes fp32, other types stay: for sums and exponentials that overflow."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) and _ISLANDS.get() else x


_ISLANDS: ContextVar[bool] = ContextVar("islands", default=True)


@contextlib.contextmanager
def islands(kept: bool) -> Iterator[None]:
    """Inside, whether blocks in half precision compute sums and softmax in fp32.

    Engines treat such islands differently from version to version, so that a block's time would be that of its casts;
    exports are made without where their answers allow it.
    """
    token = _ISLANDS.set(kept)
    try:
        yield
    finally:
        _ISLANDS.reset(token)


def no_autocast(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Switches autocast off where it is on; nothing otherwise, so that exported graphs stay plain."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()


def hidden_channels(channels: int, reduction: int) -> int:
    """Width of a reduced layer, at least 1."""
    return max(1, channels // reduction)
