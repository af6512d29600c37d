"""A set of findings as a file: written by a study, read by a person, a report, another study or a robot's build.

    from nas import RuleSet
    RuleSet.load("reports/market1501/rules.yaml").admits("resnet50+cnl@6,8,14")

The file says where the rules come from and carries a hash of its content. How rules are shown in Markdown or LaTeX is
left to `nas.spaces.rule_formats`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas.errors import SpaceError, unknown_name
from nas.files.hashes import hash_of_data
from nas.files.model_errors import sentence_for
from nas.files.whole import write_text
from nas.files.yaml_source import dump_yaml, load_yaml, validate
from nas.spaces.candidate import Candidate, as_candidate
from nas.spaces.conflicts import Contradiction, contradictions
from nas.spaces.findings import Finding
from nas.spaces.rule_formats import as_html
from nas.spaces.rules import AnyRule, Rule, Violation
from nas.spaces.space import DesignSpace
from nas.spaces.transfer import Application, apply_rules, carry

FORMAT = 1
"""Version of the file's format; a program refuses versions it does not know."""


class Provenance(BaseModel):
    """Where rules come from; what is not known is left out.

    Attributes:
        backbone: the backbone they were learned on.
        data, split: the data set, and `val` or `test`.
        created: date and time, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str | None = None
    backbone: str | None = None
    space_id: str | None = None
    space: str | None = None
    data: str | None = None
    split: str | None = None
    trainings: int | None = None
    created: str | None = None
    package: str | None = None
    details: dict[str, object] = Field(default_factory=dict)


class RuleSetFile(BaseModel):
    """All keys of a rules file. A person may write `rules` alone; a study writes `findings`."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="rules")

    format: Literal[1] = Field(1, description="version of this format")
    name: str = Field("rules", min_length=1, description="name of the set")
    provenance: Provenance = Field(Provenance(), description="where the rules come from")
    rules: tuple[AnyRule, ...] = Field((), description="rules without evidence")
    findings: tuple[Finding, ...] = Field((), description="rules with evidence and verdict")
    hash: str | None = Field(None, description="of the content; leave it out when writing by hand")

    @model_validator(mode="after")
    def _one_of_both(self) -> RuleSetFile:
        if self.rules and self.findings:
            raise ValueError("give either rules or findings")
        return self


@dataclass(frozen=True)
class Admission:
    """Whether rules admit a candidate; true when they do.

    Attributes:
        reasons: one sentence a broken rule; empty when admitted.
        score: how well it follows the preferences, 0 to 1; 1 without preferences.
        notes: rules that were carried over from another backbone for this answer, or left out.
        violations: the broken rules with the path of the offending value.
    """

    admitted: bool
    reasons: tuple[str, ...] = ()
    score: float = 1.0
    notes: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()

    def __bool__(self) -> bool:
        return self.admitted

    def __str__(self) -> str:
        return "admitted" if self.admitted else f"not admitted: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class RuleSet:
    """Findings with their origin.

    >>> from nas.spaces.rules import MaxBlocks
    >>> [rule.sentence() for rule in RuleSet.of([MaxBlocks(count=3)]).rules]
    ['no more than 3 blocks']

    Attributes:
        findings: rules with evidence and verdict, all verdicts.
        provenance: where they come from.
        name: name of the set.
    """

    findings: tuple[Finding, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    name: str = "rules"

    @classmethod
    def of(cls, rules: Iterable[Rule], provenance: Provenance | None = None, name: str = "rules") -> RuleSet:
        """A set of rules without evidence, all adopted."""
        findings = tuple(Finding(rule=rule, reason="stated, not derived") for rule in rules)
        return cls(findings, provenance or Provenance(), name)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The adopted rules."""
        return tuple(finding.rule for finding in self.findings if finding.adopted)

    def of_stage(self, stage: str) -> RuleSet:
        """What one stage found: of a study with a shrink a band of costs, the rules of one band.

        Raises:
            SpaceError: no finding is of that stage; names those that there are.
        """
        found = tuple(finding for finding in self.findings if finding.evidence.stage == stage)
        if not found:
            raise SpaceError(
                unknown_name("stage", stage, {f.evidence.stage for f in self.findings if f.evidence.stage})
            )
        return RuleSet(found, self.provenance, f"{self.name}-{stage}")

    def of_one_band(self) -> RuleSet:
        """The set itself, whose adopted rules can hold together.

        Raises:
            SpaceError: they are of several bands of costs: of networks beyond its own a rule says nothing.
        """
        adopted = [f.evidence for f in self.findings if f.adopted]
        bands = {e.band_words(): e.stage for e in adopted if e.within}
        if len(bands) > 1:
            stages = ", ".join(f"{stage} ({words})" for words, stage in bands.items())
            raise SpaceError(
                f"{self.name}: rules of different bands of costs do not hold together", f"take one stage's: {stages}"
            )
        return self

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of name, origin and findings."""
        return hash_of_data(self._content())

    # Files -----------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path) -> RuleSet:
        """Reads a rules file, YAML or JSON.

        Raises:
            SpaceError: with file, line and column when something is wrong, or when the content is not what was written.
        """
        source = load_yaml(path)
        file = validate(RuleSetFile, source)
        made = cls._from_file(file)
        if file.hash is not None and file.hash != made.hash:
            hint = "If the change is meant, delete the line with the hash."
            raise SpaceError(f"{source.where(('hash',))}: the rules were changed after they were written", hint)
        return made

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> RuleSet:
        """The inverse of `to_dict`.

        Raises:
            SpaceError: when a key is unknown or a value illegal.
        """
        try:
            return cls._from_file(RuleSetFile.model_validate(data))
        except ValidationError as problem:
            raise SpaceError(f"rules: {sentence_for(problem, RuleSetFile)[0]}") from problem

    @classmethod
    def _from_file(cls, file: RuleSetFile) -> RuleSet:
        if file.rules:
            return cls.of(file.rules, file.provenance, file.name)
        return cls(file.findings, file.provenance, file.name)

    def to_dict(self) -> dict[str, object]:
        """Plain data for files and databases."""
        return {"format": FORMAT, **self._content(), "hash": self.hash}

    def _content(self) -> dict[str, object]:
        provenance = self.provenance.model_dump(mode="json", exclude_defaults=True)
        return {"name": self.name, "provenance": provenance, "findings": [_compact(f) for f in self.findings]}

    def save(self, path: str | Path) -> Path:
        """Writes the file, as JSON when it is called `.json`, else as YAML; other tools never see half of it.

        Raises:
            SpaceError: when the file cannot be written.
        """
        file = Path(path)
        text = json.dumps(self.to_dict(), indent=2) + "\n" if file.suffix == ".json" else dump_yaml(self.to_dict())
        return write_text(file, text, SpaceError)

    @staticmethod
    def json_schema() -> dict[str, object]:
        """The JSON schema of a rules file, for editors and other programs."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RuleSetFile.model_json_schema()}

    # Use -------------------------------------------------------------------------------------------------------------

    def admits(self, candidate: Candidate | str) -> Admission:
        """Whether the adopted rules admit a candidate, and why not.

        For a candidate on another backbone than the rules', they are carried over; `notes` say how.

        Raises:
            SpaceError: when the candidate is not in the notation.
        """
        wanted = as_candidate(candidate)
        rules, notes = self._rules_for(wanted.backbone)
        broken = [violation for rule in rules if rule.is_hard for violation in rule.violations(wanted)]
        reasons = tuple(dict.fromkeys(violation.message for violation in broken))
        return Admission(not broken, reasons, _score(rules, wanted), notes, tuple(broken))

    def rank(self, candidates: Iterable[Candidate | str]) -> list[Candidate]:
        """Candidates in the order the rules prefer: admitted ones first, then by how well they follow preferences."""
        judged = [(as_candidate(candidate), self.admits(candidate)) for candidate in candidates]
        return [candidate for candidate, said in sorted(judged, key=lambda row: (not row[1], -row[1].score))]

    def apply(self, space: DesignSpace, source: str | None = None) -> Application:
        """A design space under the adopted rules, carried over to its backbones.

        Args:
            space: the space to narrow.
            source: the backbone the rules were learned on; by default what the provenance says.

        Raises:
            EmptySpaceError: when no candidate is left.
            SpaceError: when it is not known where a rule with site numbers was learned, or they are of several bands.
        """
        return apply_rules(
            self.of_one_band().rules, space, source or self.provenance.backbone, f"{space.name}/{self.name}"
        )

    def contradictions(self, space: DesignSpace) -> list[Contradiction]:
        """What the adopted rules cannot say together in a space."""
        return contradictions(space.definition, self.rules)

    def _rules_for(self, backbone: str) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
        """The adopted rules as they apply to a backbone, and what was done to carry them there."""
        if backbone not in self._carried:
            self._carried[backbone] = self._carry(backbone)
        return self._carried[backbone]

    @cached_property
    def _carried(self) -> dict[str, tuple[tuple[Rule, ...], tuple[str, ...]]]:
        return {}

    def _carry(self, backbone: str) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
        origin = self.provenance.backbone
        if origin is None or origin == backbone:
            return self.rules, ()
        carried = [carry(rule, [backbone], origin) for rule in self.rules]
        notes = tuple(row.sentence for row in carried if not row.source.is_portable)
        return tuple(rule for row in carried for rule in row.rules), notes

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def _repr_html_(self) -> str:
        return as_html(self)


def _score(rules: Iterable[Rule], candidate: Candidate) -> float:
    scores = [rule.score(candidate) for rule in rules if not rule.is_hard]
    return sum(scores) / len(scores) if scores else 1.0


def _compact(finding: Finding) -> dict[str, object]:
    """A finding without the numbers that were not measured."""
    evidence = finding.evidence.model_dump(mode="json", exclude_defaults=True)
    data = {**finding.to_dict(), "evidence": evidence}
    return {key: value for key, value in data.items() if value not in ("", {})}
