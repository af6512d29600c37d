"""A campaign: studies in order, with one budget and one report.

    name: paper
    studies: [paper_single.yaml, paper_multiple.yaml]
    hours: 400

A study may take the rules or the recipe of one before it (`nas.search.handing`); what it asks for must be made there,
and that is checked before anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from nas.errors import StudyError
from nas.files.yaml_source import load_yaml, validate
from nas.search.definition import StudyDefinition, StudyName, load_study
from nas.search.handing import is_handed_recipe, is_handed_space

MAKES_RULES = ("shrink", "auto_shrink")


class CampaignFile(BaseModel):
    """All keys of a campaign's file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, title="campaign")

    name: StudyName = Field(description="names the folder of the common report")
    title: str = Field("", description="one line for people")
    question: str = Field("", description="what the studies want to know together; opens the report")
    studies: list[str] = Field(min_length=1, description="study files in order, from this file's folder")
    hours: PositiveFloat | None = Field(
        None, description="budget of one run of all together, hours of the clock; null: none"
    )


@dataclass(frozen=True)
class Campaign:
    """Studies in order.

    Attributes:
        name: of the common report's folder.
        studies: checked against each other.
        title, question: for people.
        hours: budget of all together; None: none.
    """

    name: str
    studies: tuple[StudyDefinition, ...]
    title: str = ""
    question: str = ""
    hours: float | None = None


def is_campaign(path: Path) -> bool:
    """Whether a file is a campaign's, not a study's: it lists studies."""
    data = load_yaml(path, StudyError).data
    return isinstance(data, dict) and "studies" in data and "stages" not in data


def listed(path: Path) -> list[Path]:
    """The files of a campaign's studies, in order; the path alone where it is a study's own file."""
    return [path.parent / name for name in read_campaign(path).studies] if is_campaign(path) else [path]


def read_campaign(path: Path) -> CampaignFile:
    """A campaign's file as it is written.

    Raises:
        StudyError: a key or value in it is not valid.
    """
    return validate(CampaignFile, load_yaml(path, StudyError), StudyError)


def load_campaign(paths: Sequence[Path], profile: str | None = None) -> Campaign:
    """A campaign from its file, or from study files in order.

    Args:
        paths: one campaign file, or study files.
        profile: of every study.

    Raises:
        StudyError: a file is missing or wrong, two studies share a name, or one asks for what none before it makes.
    """
    if len(paths) == 1 and is_campaign(paths[0]):
        keys = read_campaign(paths[0]).model_dump(exclude={"studies"})
        studies = tuple(load_study(file, profile) for file in listed(paths[0]))
    else:
        keys, studies = {"name": "campaign"}, tuple(load_study(path, profile) for path in paths)
    if profile is not None:
        keys["name"] = f"{keys['name']}-{profile}"
    _check_order(studies)
    return Campaign(studies=studies, **keys)


def _check_order(studies: Sequence[StudyDefinition]) -> None:
    names = [study.name for study in studies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StudyError(f"the campaign has two studies named {twice[0]!r}", "name each study once")
    places = {study.name: place for place, study in enumerate(studies)}
    for place, study in enumerate(studies):
        for key, asked, kinds in _asked(study):
            if asked not in places:
                continue  # the database may hold it, or a fallback stands in for it
            source = studies[places[asked]]
            if places[asked] >= place:
                raise StudyError(
                    f"{study.name!r} takes its {key} from {asked!r}, which comes after it",
                    f"list {asked} before {study.name}",
                )
            if not any(item.kind in kinds for item in source.stages):
                raise StudyError(
                    f"{study.name!r} takes its {key} from {asked!r}, which has no `{kinds[0]}` stage to make it",
                    f"add one to {asked}, or give {study.name} a {key} of its own",
                )
            if source.database != study.database:
                raise StudyError(
                    f"{study.name!r} takes its {key} from {asked!r}, but they are in different databases",
                    f"write database: {source.database} in both, or run both with --db",
                )


def _asked(study: StudyDefinition) -> list[tuple[str, str, tuple[str, ...]]]:
    """What a study takes from others: key, name of the other, and stages that can make it."""
    found: list[tuple[str, str, tuple[str, ...]]] = []
    if is_handed_space(study.space) and "study" in study.space:
        found.append(("space", str(study.space["study"]), MAKES_RULES))  # type: ignore[index]
    if is_handed_recipe(study.recipe):
        found.append(("recipe", str(study.recipe["study"]), ("tune",)))  # type: ignore[index]
    return found
