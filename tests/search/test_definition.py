"""Study files: what is valid, what is refused and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from nas.errors import NasError, StudyError
from nas.search.definition import StudyDefinition, load_study, merge

MINIMAL = {"name": "one", "space": "space.yaml", "stages": [{"profile": {}}]}


def write(folder: Path, data: object) -> Path:
    path = folder / "study.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
    return path


def test_stages_get_names_and_numbers(tmp_path: Path) -> None:
    stages = [
        {"profile": None},
        {"sweep": {"candidates": 3}},
        {"sweep": {"design": "exhaustive"}, "name": "all"},
        "confirm",
    ]
    study = load_study(write(tmp_path, {**MINIMAL, "stages": stages}))
    assert [(s.name, s.kind) for s in study.named_stages()] == [
        ("profile", "profile"),
        ("sweep", "sweep"),
        ("all", "sweep"),
        ("confirm", "confirm"),
    ]


@pytest.mark.parametrize("form", ["auto", {"auto": {"trainings": 60}}])
def test_shrink_auto_has_a_stage_of_its_own(tmp_path: Path, form: object) -> None:
    study = load_study(write(tmp_path, {**MINIMAL, "stages": [{"shrink": form}]}))
    assert study.named_stages()[0].kind == "auto_shrink"
    assert study.named_stages()[0].settings.trainings == (200 if form == "auto" else 60)


def test_a_profile_is_laid_over_the_file(tmp_path: Path) -> None:
    data = {**MINIMAL, "seed": 4, "recipe": {"extends": "quickstart", "epochs": 9}}
    data["profiles"] = {
        "smoke": {"recipe": {"extends": "strong_baseline", "epochs": 1}, "stages": [{"sweep": {"candidates": 2}}]}
    }
    study = load_study(write(tmp_path, data), "smoke")
    assert study.recipe == {"extends": "strong_baseline", "epochs": 1}
    assert [s.kind for s in study.named_stages()] == ["sweep"]
    assert study.seed == 4


@pytest.mark.parametrize("key", ["recipe: {extends: quickstart, epochs: %s}", "stages: [{sweep: {candidates: %s}}]"])
def test_what_is_wrong_in_a_profile_is_found_in_the_profile(tmp_path: Path, key: str) -> None:
    """It was said of the line in the file that the profile replaces."""
    text = f"name: a\nspace: s\nstages: [{{profile: {{}}}}]\n{key % 3}\nprofiles:\n  smoke:\n    {key % -1}\n"
    file = write(tmp_path, text if "stages" not in key else text.replace("stages: [{profile: {}}]\n", "", 1))
    load_study(file)
    line = 1 + file.read_text().splitlines().index(f"    {key % -1}")
    with pytest.raises(NasError, match=rf"study.yaml:{line}:"):
        load_study(file, "smoke")


def test_what_is_stored_reads_back_as_the_same_study(tmp_path: Path) -> None:
    stages = [{"profile": {}}, {"sweep": {"candidates": 4, "fidelity": {"epochs": 2}}}, {"search": {"trainings": 5}}]
    study = load_study(write(tmp_path, {**MINIMAL, "stages": stages}))
    again = type(study).model_validate(study.stored())
    assert again.named_stages() == study.named_stages()
    assert again.stored() == study.stored()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name: a\nspace: s\nstages: [{sweep: {candidtes: 3}}]\n", ["study.yaml:3", "candidtes", "candidates"]),
        ("name: a\nspace: s\nstagse: []\n", ["study.yaml:3", "stagse", "stages"]),
        ("name: a\nspace: s\nstages: [{sweeep: {}}]\n", ["study.yaml:3", "sweeep"]),
        ("name: a\nname: b\nspace: s\nstages: [{profile: {}}]\n", ["study.yaml:2", "name", "twice"]),
        ("name: a b/c\nspace: s\nstages: [{profile: {}}]\n", ["study.yaml:1", "name"]),
        ("name: a\nspace: s\nstages: [{sweep: {}}]\n", ["study.yaml:3", "candidates"]),
        ("name: a\nspace: s\nstages: [{profile: {}, sweep: {candidates: 1}}]\n", ["study.yaml:3", "one kind"]),
        ("name: a\nspace: s\nstages: [{search: {trainings: 4, rungs: [9, 3]}}]\n", ["study.yaml:3", "ascending"]),
        ("name: a\nspace: s\nstages: []\n", ["study.yaml:3", "stages"]),
    ],
)
def test_wrong_files_are_refused_with_line_and_a_way_out(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(write(tmp_path, text))
    for part in parts:
        assert part in str(caught.value)


def test_an_unknown_profile_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"smok.*did you mean 'smoke'"):
        load_study(write(tmp_path, {**MINIMAL, "profiles": {"smoke": {}}}), "smok")


def test_a_profile_replaces_data_but_merges_the_protocol() -> None:
    base = {"data": {"market1501": "x"}, "latency": {"batch": 16, "builds": 2}}
    changes = {"data": {"generated": {}}, "latency": {"batch": 4}}
    assert merge(base, changes) == {"data": {"generated": {}}, "latency": {"batch": 4, "builds": 2}}


@pytest.mark.parametrize("seed", [2**62, 2**63, -1])
def test_a_seed_that_no_database_holds_is_refused(seed: int) -> None:
    with pytest.raises(ValidationError, match="seed"):
        StudyDefinition.model_validate({"name": "s", "space": "x.yaml", "stages": ["sweep"], "seed": seed})


def test_slow_downs_that_a_trainer_tells_need_a_time_beside_them() -> None:
    """A slow-down alone has no time: such a study trained everything, and its front was empty."""
    study = {"name": "s", "space": "x.yaml", "stages": [{"sweep": {"candidates": 4}}], "cost": "slowdown_percent"}
    alone = {"python": "a:b", "costs": ["slowdown_percent"]}
    with pytest.raises(ValidationError, match="of slow-downs alone there is no front"):
        StudyDefinition.model_validate(study | {"objective": alone})
    timed = {"python": "a:b", "costs": ["slowdown_percent", "latency_ms"]}
    assert StudyDefinition.model_validate(study | {"objective": timed}).cost == "slowdown_percent"


def test_what_is_better_the_more_there_is_of_it_has_no_upper_limit() -> None:
    """`limits: {batches_per_s: 40}` kept to networks of at most 40 ms."""
    study = {"name": "s", "space": "x.yaml", "stages": [{"sweep": {"limits": {"batches_per_s": 40.0}}}]}
    with pytest.raises(ValidationError, match="batches_per_s has no upper limit, as more is better; limit latency_ms"):
        StudyDefinition.model_validate(study)
