"""What one study hands to the next by name: the rules that it adopted, and the recipe that it tuned.

    space: {within: ../search_spaces/resnet50_combinations.yaml, study: paper_single, fallback: [{stage_ends: true}]}
    recipe: {study: paper_single, extends: strong_baseline}

The study is looked up in the database of the one that asks. Where it was never run, the fallback holds, and the space's
description says so; where it runs, it must end first. Rules learned from networks with one block at most are
preferences for networks with more: that a site is not the best for one block says nothing against it beside others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.errors import StudyError, unknown_name
from nas.files.plain import JsonDict
from nas.search.definition import StudyDefinition
from nas.search.starts import identity_forms
from nas.spaces import DesignSpace, Finding, Rule, RuleSet, rule_from_dict
from nas.spaces.ruleset import Provenance
from nas.training.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from nas.storage import Repository, StudyInfo

SPACE_KEYS = ("within", "study", "rules", "fallback")


def is_handed_space(space: str | JsonDict) -> bool:
    """Whether a study's `space` takes rules from elsewhere."""
    return isinstance(space, Mapping) and "backbones" not in space and any(key in space for key in SPACE_KEYS)


def is_handed_recipe(recipe: str | JsonDict) -> bool:
    """Whether a study's `recipe` takes tuned values from another study."""
    return isinstance(recipe, Mapping) and "study" in recipe


def handed_space(definition: StudyDefinition, repository: Repository | None) -> DesignSpace:
    """The space within which a study works, under the rules handed to it; a study that has begun keeps its own.

    Raises:
        StudyError: the other study is missing without a fallback, or has not ended.
        SpaceError: the space or the rules are wrong, or leave no candidate.
    """
    begun = _known(repository, definition.name)
    if begun is not None:
        return DesignSpace.from_dict(begun.definition["space"])
    keys = dict(definition.space)  # type: ignore[arg-type]
    for key in keys:
        if key not in SPACE_KEYS:
            raise StudyError("space: " + unknown_name("key", key, SPACE_KEYS))
    if "within" not in keys or ("study" in keys) == ("rules" in keys):
        raise StudyError(
            "space: rules are handed on by {within: SPACE, study: NAME} or {within: SPACE, rules: FILE}",
            "give `within` and one of the other two",
        )
    within = _space(definition, keys["within"])
    rules, told = _handed_rules(definition, repository, keys, within)
    left = rules.apply(within, rules.provenance.backbone or next(iter(within.backbones))).space
    words = f"{within.description} {told}".strip()
    made = DesignSpace.from_dict({**left.to_dict(), "name": f"{within.name}/{rules.name}", "description": words})
    return identity_forms(made) if definition.is_warm else made


def handed_recipe(definition: StudyDefinition, repository: Repository | None) -> Recipe:
    """The recipe of a study with the values that another one tuned.

    Raises:
        StudyError: the other study has not ended, or tuned nothing.
        TrainingError: a key or value is wrong.
    """
    begun = _known(repository, definition.name)
    if begun is not None:
        return load_recipe(begun.definition["recipe"])
    keys = dict(definition.recipe)  # type: ignore[arg-type]
    study = str(keys.pop("study"))
    source = _known(repository, study)
    base = load_recipe({"extends": "strong_baseline", **keys})
    if source is None or repository is None:
        return base
    _require_end(repository, source, "recipe")
    from nas.search.stage_results import TuneResult  # loads pandas, which reading a study file does not need

    tuned = TuneResult.recipe_of(repository.stages(source.id))
    if tuned is None:
        raise StudyError(f"recipe: study {study!r} tuned no recipe", "it needs a `tune` stage; or name a recipe here")
    return base.with_overrides({**tuned, "name": f"{study}-tuned"})


def origin(definition: StudyDefinition, repository: Repository) -> list[str]:
    """One sentence for each thing that the study takes from another one: where it comes from."""
    told = []
    if is_handed_space(definition.space):
        told.append(f"Space: {handed_space(definition, repository).description}")
    if is_handed_recipe(definition.recipe):
        study = str(dict(definition.recipe)["study"])  # type: ignore[arg-type]
        known = _known(repository, study) is not None
        words = f"as study {study!r} tuned it" if known else f"as it is: study {study!r}, which tunes it, was not run"
        told.append(f"Recipe: {handed_recipe(definition, repository).name}, {words}.")
    return told


def as_preferences(rules: Iterable[Rule]) -> list[Rule]:
    """The same rules as an order among candidates, not as constraints."""
    return [rule.model_copy(update={"strength": "preference"}) for rule in rules]


def _handed_rules(
    definition: StudyDefinition, repository: Repository | None, keys: Mapping[str, Any], within: DesignSpace
) -> tuple[RuleSet, str]:
    """The rules, and a sentence on where they come from."""
    if "rules" in keys:
        given = stated_rules(definition, keys["rules"])
        most = given.provenance.details.get("most_blocks")
        rules, how = _for_more_blocks(given.rules, most if isinstance(most, int) else None, within)
        told = f"Under {len(rules)} rules of {given.name}{how}."
        return RuleSet.of(rules, given.provenance, given.name), told
    study = str(keys["study"])
    source = _known(repository, study)
    if source is not None and repository is not None:
        _require_end(repository, source, "space")
        return _adopted(repository, source, within)
    if "fallback" not in keys:
        raise StudyError(
            f"space: the rules of study {study!r} are asked for, but it was never run in this database",
            f"run it first, or give `fallback` rules for {definition.name!r} to begin with",
        )
    given = stated_rules(definition, keys["fallback"])
    return given, f"Study {study!r} was not run in this database: under {len(given.rules)} stated rules in its place."


def _adopted(repository: Repository, source: StudyInfo, within: DesignSpace) -> tuple[RuleSet, str]:
    """What a study adopted, as far as it may be said of the space that asks."""
    told = RuleSet(tuple(as_findings(repository.findings(source.id))), name=source.name).of_one_band()
    findings: list[Finding] = [f for f in told if f.adopted]
    learned = DesignSpace.from_dict(source.definition["space"])
    most = max(learned.size_by_blocks())
    rules, how = _for_more_blocks([finding.rule for finding in findings], most, within)
    confirmed = sum(finding.evidence.confirmation is not None for finding in findings)
    words = f"Under {len(rules)} rules that study {source.name!r} adopted, {confirmed} of them confirmed{how}."
    (backbone, *_) = learned.backbones
    return RuleSet.of(rules, Provenance(study=source.name, backbone=backbone), source.name), words


def _for_more_blocks(rules: Sequence[Rule], most: int | None, within: DesignSpace) -> tuple[list[Rule], str]:
    """Rules as they may be said of a space, and how: those learned from single blocks forbid nothing where more may be.

    Args:
        rules: as they were adopted.
        most: blocks of the largest network that they were learned from; None: not known, as where a person wrote them.
        within: the space that asks.
    """
    if most is not None and most <= 1 < max(within.size_by_blocks()):
        return as_preferences(rules), " as preferences, for they were learned from single blocks"
    return list(rules), ""


def as_findings(rows: Iterable[Mapping[str, object]]) -> list[Finding]:
    """Stored findings as objects again, without what the database adds to them."""
    added = ("round", "sentence", "stage_id", "stage")
    return [Finding.from_dict({k: v for k, v in row.items() if k not in added}) for row in rows]


def stated_rules(definition: StudyDefinition, written: str | Sequence[JsonDict] | JsonDict) -> RuleSet:
    """Rules from a file beside the study, from a file's content, or from a list.

    Raises:
        StudyError: there is no such file.
        SpaceError: something is wrong in them.
    """
    if isinstance(written, str):
        return RuleSet.load(definition.beside(written))
    if isinstance(written, Mapping):
        return RuleSet.from_dict(written)
    return RuleSet.of([rule_from_dict(data) for data in written], name="stated")


def _space(definition: StudyDefinition, written: object) -> DesignSpace:
    is_file = isinstance(written, str)
    return DesignSpace.from_yaml(definition.beside(written)) if is_file else DesignSpace.from_dict(written)  # type: ignore[arg-type]


def _known(repository: Repository | None, name: str) -> StudyInfo | None:
    if repository is None:
        return None
    return next((study for study in repository.studies() if study.name == name), None)


def _require_end(repository: Repository, study: StudyInfo, key: str) -> None:
    if not repository.status(study.name)["finished"]:
        raise StudyError(
            f"{key}: study {study.name!r}, which hands on its results, has not ended",
            f"run it to its end first: `nas status {study.name}` says where it stands",
        )
