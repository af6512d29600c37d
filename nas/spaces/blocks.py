"""The catalogue of attention blocks: their names, families and hyperparameters, without any network code.

A design space needs to know that a block exists and which hyperparameters it has, not how it computes; the
computation lives in `nas.networks.blocks`, one class a name. A user's own block is found here too, by
`module:Class` or by an entry point in the group `nas.blocks`; its class carries a `spec: BlockSpec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Literal

from nas.errors import SpaceError, unknown_name
from nas.spaces import own_code
from nas.spaces.plugins import entry_point, installed
from nas.spaces.values import ParamValue, canonical_value, format_value, same_value

Family = Literal["channel-wise", "non-local", "mixed"]
Params = tuple[tuple[str, ParamValue], ...]

AUTO = "auto"
START = "start"
PUBLISHED, IDENTITY, UNIT_GATE = "published", "identity", "unit_gate"


@dataclass(frozen=True)
class ParamSpec:
    """One hyperparameter of a block.

    Attributes:
        name: as written in space files and in the notation.
        choices: the legal values, in the order they are listed to people.
        default: the value that is taken, and not written, when none is given.
        active_if: `(other, values)`: the hyperparameter exists only while `other` has one of the values.
        default_if: `((other, value, default), ...)`: defaults that depend on another hyperparameter.
            A hyperparameter with such defaults accepts `auto` for "the default".
    """

    name: str
    choices: tuple[ParamValue, ...]
    default: ParamValue
    doc: str
    active_if: tuple[str, tuple[ParamValue, ...]] | None = None
    default_if: tuple[tuple[str, ParamValue, ParamValue], ...] = ()

    def is_active(self, others: Mapping[str, ParamValue]) -> bool:
        """Whether the hyperparameter exists beside the values of the others."""
        if self.active_if is None:
            return True
        other, values = self.active_if
        return other in others and any(same_value(others[other], value) for value in values)

    def default_for(self, others: Mapping[str, ParamValue]) -> ParamValue:
        """The default beside the values of the others."""
        for other, value, default in self.default_if:
            if other in others and same_value(others[other], value):
                return default
        return self.default

    def choose(self, value: object, block: str) -> ParamValue:
        """The legal choice equal to `value`; a `SpaceError` where it is none of the choices."""
        plain = canonical_value(value)
        for choice in self.choices:
            if same_value(choice, plain):
                return choice
        legal = ", ".join(format_value(choice) for choice in self.choices)
        raise SpaceError(f"{self.name} of block {block!r} cannot be {format_value(plain)}; legal: {legal}")


_START = ParamSpec(
    START, (PUBLISHED, IDENTITY), PUBLISHED, "how it is put in: as published, or x + g (f(x) - x), g = 0"
)
_START_OF_GATES = ParamSpec(
    START,
    (PUBLISHED, IDENTITY, UNIT_GATE),
    PUBLISHED,
    f"{_START.doc}; unit_gate: its gates are doubled, and 1 at first",
)


@dataclass(frozen=True)
class BlockSpec:
    """What a design space knows of a block.

    Every block has one hyperparameter more, `start`: how it is put into a network. It is written (and part of a
    candidate) only where it is not `published`; a block that is the identity as published has no other form.

    Attributes:
        name: short name, as in `resnet50+cnl@8`.
        family: what the attention relates: channels, positions, or both.
        params: hyperparameters; one that depends on another comes after it.
        identity: when a newly built block returns its input as it is: for each of these hyperparameters one of these
            values. Nothing: always. None: never.
        unit_gate: whether the block can start with doubled gates that are 1.
    """

    name: str
    title: str
    family: Family
    params: tuple[ParamSpec, ...]
    source: str
    summary: str
    identity: tuple[tuple[str, tuple[ParamValue, ...]], ...] | None = None
    unit_gate: bool = False

    def __post_init__(self) -> None:
        if any(spec.name == START for spec in self.params):
            raise SpaceError(f"block {self.name!r} declares `{START}`, which every block has: give it another name")

    @property
    def settings(self) -> tuple[ParamSpec, ...]:
        """The hyperparameters, and `start`."""
        return (*self.params, _START_OF_GATES if self.unit_gate else _START)

    def is_identity(self, params: Mapping[str, object]) -> bool:
        """Whether a newly built block passes its input on unchanged: by its form, or as published.

        >>> get_block_spec("cnl").is_identity({"fuse": "gate2"}), get_block_spec("se").is_identity({})
        (True, False)
        >>> get_block_spec("se").is_identity({"start": "identity"})
        True
        """
        values = dict(self.complete(params))
        return START in values or self._identity_as_published(values)

    def _identity_as_published(self, values: Mapping[str, ParamValue]) -> bool:
        return self.identity is not None and all(
            any(same_value(values[name], value) for value in legal) for name, legal in self.identity
        )

    def param(self, name: str) -> ParamSpec:
        """The hyperparameter of that name; a `SpaceError` where there is none."""
        for spec in self.settings:
            if spec.name == name:
                return spec
        raise SpaceError(unknown_name(f"hyperparameter of {self.name}", name, [p.name for p in self.settings]))

    def complete(self, given: Mapping[str, object]) -> Params:
        """All active hyperparameters with defaults filled in, sorted by name; `start` only where it is not `published`.

        >>> get_block_spec("cnl").complete({"fuse": "add"})
        (('fuse', 'add'), ('norm', 'softmax'), ('qk_norm', False), ('width', 'full'), ('zero_init', True))

        Raises:
            SpaceError: for an unknown hyperparameter, an illegal value, or one given where it is not active.
        """
        for name in given:
            self.param(name)
        values: dict[str, ParamValue] = {}
        for spec in self.params:
            if not spec.is_active(values):
                self._refuse_inactive(spec, given)
            elif spec.name not in given or (spec.default_if and given[spec.name] == AUTO):
                values[spec.name] = spec.default_for(values)
            else:
                values[spec.name] = spec.choose(given[spec.name], self.name)
        start = self.param(START).choose(given.get(START, PUBLISHED), self.name)
        if start != PUBLISHED and not self._identity_as_published(values):
            values[START] = start
        return tuple(sorted(values.items()))

    def _refuse_inactive(self, spec: ParamSpec, given: Mapping[str, object]) -> None:
        if spec.name in given and spec.active_if is not None:
            other, values = spec.active_if
            legal = " or ".join(format_value(value) for value in values)
            raise SpaceError(f"{spec.name} of block {self.name!r} exists only with {other}={legal}")

    def non_defaults(self, params: Params) -> Params:
        """The hyperparameters whose value is not the default: what the notation writes."""
        values = dict(params)
        return tuple(
            (name, value) for name, value in params if not same_value(value, self.param(name).default_for(values))
        )


@dataclass(frozen=True)
class UnloadedSpec(BlockSpec):
    """Stands for an own block whose class was not imported: hyperparameters are taken as they are written."""

    def param(self, name: str) -> ParamSpec:
        """A hyperparameter of which only the name is known."""
        return ParamSpec(name, (), "", "not known here: the block's class was not imported")

    def complete(self, given: Mapping[str, object]) -> Params:
        """What is given, sorted by name; defaults are not known."""
        return tuple(sorted((str(name), canonical_value(value)) for name, value in given.items()))

    def non_defaults(self, params: Params) -> Params:
        """All of them: which are defaults is not known."""
        return params

    def is_identity(self, params: Mapping[str, object]) -> bool:
        """Not known to be."""
        return False


@cache
def _unloaded(name: str) -> UnloadedSpec:
    title = name.split(":")[1]
    return UnloadedSpec(name, title, "mixed", (), "code of one's own", "Its class was not imported here.")


def _reduction(default: int) -> ParamSpec:
    doc = "channels of the hidden layer are divided by this"
    return ParamSpec("reduction", (1, 2, 4, 8, 16, 32), default, doc)


_CATALOGUE = (
    BlockSpec(
        "se",
        "SE",
        "channel-wise",
        (_reduction(16),),
        "Hu et al., Squeeze-and-Excitation Networks, CVPR 2018",
        "A gate a channel, from two fully connected layers on the pooled features.",
        unit_gate=True,
    ),
    BlockSpec(
        "hac",
        "HAC",
        "channel-wise",
        (_reduction(16),),
        "Li et al., Harmonious Attention Network for Person Re-Identification, CVPR 2018 (channel branch)",
        "A gate a channel, from two normalised 1x1 convolutions on the pooled features.",
        unit_gate=True,
    ),
    BlockSpec(
        "agw",
        "AGW non-local",
        "non-local",
        (ParamSpec("inner", ("half", "one"), "half", "inner channels: half, or one as in the released code"),),
        "Ye et al., Deep Learning for Person Re-Identification: A Survey and Outlook, TPAMI 2021",
        "A non-local block without softmax between positions, added to its input.",
        identity=(),
    ),
    BlockSpec(
        "raga",
        "RAGA",
        "non-local",
        (ParamSpec("mode", ("sc", "s", "c"), "sc", "spatial then channel attention, or one of them"),),
        "Zhang et al., Relation-Aware Global Attention for Person Re-Identification, CVPR 2020",
        "A gate from each position's (and channel's) relations to all others; tied to one input size.",
        unit_gate=True,
    ),
    BlockSpec(
        "abd",
        "ABD",
        "non-local",
        (ParamSpec("mode", ("pam+cam", "pam", "cam"), "pam+cam", "attention between positions, channels, or the sum"),),
        "Chen et al., ABD-Net: Attentive but Diverse Person Re-Identification, ICCV 2019",
        "Dot-product attention between positions and between channels, added to its input.",
        identity=(),
    ),
    BlockSpec(
        "cnl",
        "C-NL",
        "channel-wise",
        (
            ParamSpec("width", ("full", "half", "reduced"), "full", "inner channels: all, half, or C/reduction"),
            ParamSpec(
                "reduction",
                (4, 8, 16, 32),
                16,
                "inner channels are divided by this; only with width=reduced",
                active_if=("width", ("reduced",)),
            ),
            ParamSpec("norm", ("softmax", "dot"), "softmax", "normalisation of the affinity between channels"),
            ParamSpec("fuse", ("gate", "gate2", "add"), "gate", "x*s(z), 2*x*s(z) or x + z"),
            ParamSpec(
                "zero_init",
                (True, False),
                False,
                "the last normalisation starts at 0 (identity for add and gate2); default on for these two",
                default_if=(("fuse", "add", True), ("fuse", "gate2", True)),
            ),
            ParamSpec("qk_norm", (True, False), False, "batch normalisation of query and key"),
        ),
        "Eisenbach et al., A Little Bit Attention Is All You Need for Person Re-Identification, 2023 (reconstruction)",
        "Pooling first, then query, key and value: a non-local block over channels.",
        identity=(("fuse", ("gate2", "add")), ("zero_init", (True,))),
    ),
    BlockSpec(
        "eca",
        "ECA",
        "channel-wise",
        (),
        "Wang et al., ECA-Net: Efficient Channel Attention, CVPR 2020 (timm's layer)",
        "A gate a channel, from a short one-dimensional convolution over the pooled channels.",
    ),
    BlockSpec(
        "gc",
        "GC",
        "non-local",
        (
            _reduction(8),
            ParamSpec("fuse", ("scale", "add"), "scale", "context as a gate, or added"),
        ),
        "Cao et al., GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, 2019 (timm's layer)",
        "One attention-weighted context vector for all positions, as a gate or added.",
    ),
    BlockSpec(
        "cbam",
        "CBAM",
        "mixed",
        (_reduction(16),),
        "Woo et al., CBAM: Convolutional Block Attention Module, ECCV 2018 (timm's layer)",
        "A channel gate, then a spatial gate.",
    ),
)

BLOCKS: Mapping[str, BlockSpec] = MappingProxyType({spec.name: spec for spec in _CATALOGUE})
"""The blocks that come with the package, by name, in the order they are listed to people."""


def get_block_spec(name: str) -> BlockSpec:
    """The declaration of a block: shipped, from an entry point in `nas.blocks`, or `module:Class`.

    An own block that nobody here asked for (see `own_code`) is not imported: an `UnloadedSpec` stands for it, so that
    reports can speak of it.

    Raises:
        SpaceError: when the block is unknown, cannot be imported or has no `spec: BlockSpec`.
    """
    if name in BLOCKS:
        return BLOCKS[name]
    if own_code.is_own(name):
        return _spec_of(name, own_code.load(name)) if own_code.is_trusted(name) else _unloaded(name)
    return _installed_spec(name)


@cache
def _installed_spec(name: str) -> BlockSpec:
    point = entry_point("block", name)
    if point is None:
        known = [*BLOCKS, *(point.name for point in installed("block"))]
        raise SpaceError(unknown_name("block", name, known), hint="An own block is written as module:Class.")
    return _spec_of(name, point.load())


def block_names() -> Iterator[str]:
    """Names of all blocks that can be written without `module:Class`."""
    yield from BLOCKS
    yield from (point.name for point in installed("block") if point.name not in BLOCKS)


@cache
def _spec_of(name: str, block: object) -> BlockSpec:
    spec = getattr(block, "spec", None)
    if not isinstance(spec, BlockSpec):
        hint = "Give the class an attribute `spec = nas.spaces.BlockSpec(...)`."
        raise SpaceError(f"block {name!r}: its class has no `spec` of type BlockSpec", hint)
    # The name in the file is the name of the candidate: it must lead back to the same class.
    return replace(spec, name=name)
