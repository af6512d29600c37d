"""What every rule can do: say whether a candidate obeys it, why not, and read as a sentence.

A rule is written by a person in a space file, adopted by a shrink step, or exported as a finding: one class a kind,
the same in all three. A `hard` rule is a constraint; a `preference` admits everything and orders it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from nas.errors import SpaceError, unknown_name
from nas.files.model_errors import sentence_for
from nas.spaces.candidate import Candidate, Placement
from nas.spaces.domains import Domain
from nas.spaces.lattice import Automaton
from nas.spaces.notation import format_placement
from nas.spaces.site_sets import SiteSet
from nas.spaces.sites import BACKBONES, Site, Topology, get_topology, is_foreign

Strength = Literal["hard", "preference"]


@dataclass(frozen=True)
class Violation:
    """Why a candidate is outside.

    Attributes:
        rule: the rule it breaks; None when it leaves the space's own sites, blocks or values.
        path: the offending value in the candidate's dictionary form, e.g. `placements[1].site`.
    """

    rule: Rule | None
    path: str
    message: str

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {"rule": self.rule.to_dict() if self.rule else None, "path": self.path, "message": self.message}


class Carrier(Protocol):
    """Translates what depends on a backbone into what it means on another."""

    def sites(self, sites: SiteSet) -> SiteSet | None:
        """The sites that correspond; None when there are none."""
        ...

    def distance(self, distance: int) -> int:
        """The distance that is the same share of the depth."""
        ...


class Rule(BaseModel):
    """A constraint on candidates, or a preference among them.

    Attributes:
        strength: `hard` or `preference`.
        backbone: the only backbone the rule speaks of; None for every one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, value: object = None, /, **keys: object) -> None:
        """From its keys, or from the plain value that a file may give instead: `MaxBlocks(3)`.

        Raises:
            SpaceError: it is not valid; says what is.
        """
        short = self.shorthand
        if value is not None and short is None:
            raise SpaceError(f"{type(self).__name__} takes keys, not {value!r}")
        try:
            super().__init__(**keys if value is None or short is None else {short: value, **keys})
        except ValidationError as problem:
            raise SpaceError(f"{type(self).__name__}: {sentence_for(problem, type(self))[0]}") from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # files and nested rules are read without it

    kind: str
    strength: Strength = "hard"
    backbone: str | None = None

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, name: str | None) -> str | None:
        if name is not None and not (name in BACKBONES or is_foreign(name)):
            raise ValueError(unknown_name("backbone", name, BACKBONES))
        return name

    reads_forms: ClassVar[bool] = False
    """Whether the automaton is told the form of a block (`nas.spaces.lattice.form_key`), not its name alone."""

    shorthand: ClassVar[str | None] = None
    """The field that is meant when a file gives a plain value instead of keys."""

    @property
    def is_hard(self) -> bool:
        """Whether the rule is a constraint."""
        return self.strength == "hard"

    def applies_to(self, backbone: str) -> bool:
        """Whether the rule speaks of a backbone."""
        return self.backbone is None or self.backbone == backbone

    def admits(self, candidate: Candidate) -> bool:
        """Whether a candidate may be used under this rule; a preference admits every one."""
        return not self.is_hard or self.holds(candidate)

    def holds(self, candidate: Candidate) -> bool:
        """Whether a candidate does what the rule says, hard or not."""
        return next(self.violations(candidate), None) is None

    def violations(self, candidate: Candidate) -> Iterator[Violation]:
        """Where a candidate does not do what the rule says."""
        if self.applies_to(candidate.backbone):
            yield from self.broken(candidate, topology_of(candidate))

    def broken(self, candidate: Candidate, topology: Topology) -> Iterator[Violation]:
        """The violations of a candidate the rule speaks of; by default, of its placements one by one."""
        for i, placement in enumerate(candidate.placements):
            if not self.admits_placement(topology.site(placement.site), placement, topology):
                message = f"{format_placement(placement)} is against the rule: {self.sentence(topology)}"
                yield Violation(self, f"placements[{i}].{self.offender}", message)

    offender: ClassVar[str] = "site"
    """The part of a placement that such a rule objects to."""

    def admits_placement(self, site: Site, placement: Placement, topology: Topology) -> bool:
        """Whether a placement can be in an obedient candidate at all, whatever else is in it."""
        return True

    def automaton(self, topology: Topology) -> Automaton | None:
        """How the rule reads placements from first to last, when it looks at more than one."""
        return None

    def narrowed(self, key: str, domain: Domain) -> Domain:
        """The part of a recipe hyperparameter's domain that the rule leaves."""
        return domain

    def score(self, candidate: Candidate) -> float:
        """How well a candidate does what the rule says, from 0 to 1; for the order a preference makes."""
        broken = {violation.path for violation in self.violations(candidate)}
        if not broken:
            return 1.0
        return max(0.0, 1.0 - len(broken) / len(candidate.placements)) if candidate.placements else 0.0

    @property
    def places(self) -> tuple[SiteSet, ...]:
        """The sets of sites that the rule names."""
        return ()

    def check(self, topology: Topology) -> None:
        """Refuses a rule that means nothing on a backbone, which lacks the sites that it names.

        Raises:
            SpaceError: when it names sites the backbone lacks.
        """
        for sites in self.places:
            sites.check(topology)

    @property
    def is_portable(self) -> bool:
        """Whether the rule means the same on every backbone."""
        return all(sites.is_portable for sites in self.places)

    @property
    def mentions(self) -> tuple[str, ...]:
        """The blocks the rule speaks of, without which it says nothing; empty when it speaks of all."""
        return ()

    def carried(self, to: Carrier) -> Rule | None:
        """The rule for another backbone; None when nothing of it is left there."""
        return self

    def sentence(self, topology: Topology | None = None) -> str:
        """The rule as a person says it; of how many sites, where a backbone is spoken of, or is the rule's own."""
        about = topology or (get_topology(self.backbone) if self.backbone else None)
        text = self.as_constraint(about) if self.is_hard else self.as_preference(about)
        return text if topology or not self.backbone else f"{text}, on {get_topology(self.backbone).title}"

    def as_constraint(self, topology: Topology | None) -> str:
        """The sentence of the hard rule."""
        raise NotImplementedError

    def as_preference(self, topology: Topology | None) -> str:
        """The sentence of the preference."""
        return f"preferably {self.as_constraint(topology)}"

    def to_dict(self) -> dict[str, object]:
        """The rule as a space file writes it; `rule_from_dict` reads it back."""
        data = self.model_dump(exclude={"kind", "strength", "backbone"}, exclude_defaults=True)
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
        head = {self.kind: self.body(plain)}
        extra: dict[str, object] = {} if self.is_hard else {"strength": self.strength}
        return head | extra | ({"backbone": self.backbone} if self.backbone else {})

    def body(self, data: Mapping[str, object]) -> object:
        """What stands behind the kind in a file: a plain value where that says it all."""
        if not data and self.shorthand is None:
            return True
        return data[self.shorthand] if self.shorthand is not None and set(data) == {self.shorthand} else dict(data)

    def __str__(self) -> str:
        return self.sentence()


def topology_of(candidate: Candidate) -> Topology:
    """The sites of a candidate's backbone, at its last stride."""
    return get_topology(candidate.backbone, int(dict(candidate.backbone_params).get("last_stride", 1)))
