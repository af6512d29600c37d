"""`nas.run` from a path, a dictionary and objects, in processes and here; what is wrong is said with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from search_builders import SPACE, study_file

import nas
from nas.errors import NasError, SpaceError, StudyError
from nas.search.definition import StudyDefinition, SweepStage
from nas.spaces.rules import MaxBlocks

SWEEP = {"sweep": {"design": "stratified", "candidates": 6, "seeds": 2}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    return tmp_path


def found(study: nas.Study) -> list[tuple[str, int, float]]:
    rows = study.results()
    return sorted(zip(rows["notation"], rows["seed"], rows["map"], strict=True))


@pytest.mark.slow
def test_a_path_a_dictionary_and_objects_give_the_same_in_processes_and_here(folder: Path) -> None:
    path = study_file(folder, [SWEEP])
    in_processes = nas.run(path, progress=False)
    assert in_processes.status()["finished"]
    content = {**yaml.safe_load(path.read_text()), "database": f"sqlite:///{folder / 'other.db'}"}
    here = nas.run(content, in_process=True, workers=2, progress=False)
    space = nas.DesignSpace.from_dict(SPACE)
    built = StudyDefinition(
        name="replayed",
        space=space,  # type: ignore[arg-type]  # objects are read as a file writes them
        objective={"table": "table.csv"},
        seed=3,
        stages=[SweepStage(design="stratified", candidates=6, seeds=2)],  # type: ignore[list-item]
    )
    objects = nas.run(built, db=f"sqlite:///{folder / 'third.db'}", in_process=True, progress=False)
    assert found(in_processes) == found(here) == found(objects)
    assert len(found(here)) == 2 * 8
    assert here.answer() == objects.answer() == in_processes.answer()
    shown = here._repr_html_()
    assert "<h3>replayed</h3>" in shown
    assert "<figure" not in shown  # which only a page of ours can draw
    assert nas.run(content, progress=False).status()["finished"]  # once more: nothing to do


def test_progress_is_told_on_stderr_or_not_at_all(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = study_file(folder, [SWEEP])
    nas.run(path, in_process=True, progress=False)
    assert capfd.readouterr() == ("", "")
    nas.run(path, in_process=True)
    out, err = capfd.readouterr()
    assert (out, "nothing to do" in err) == ("", True)


def study(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "space": SPACE, "stages": [SWEEP], **changes}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nas.run(study(seeds=3)), "study: unknown key 'seeds'; did you mean 'seed'"),
        (
            lambda: nas.run(study(stages=[{"sweep": {"candidates": 0}}])),
            r"study: stages\[0\].sweep.candidates: a number above 0",
        ),
        (lambda: nas.run(study(stages=[{"sweep": {"candidate": 1}}])), r"study: stages\[0\].sweep: unknown key 'cand"),
        (lambda: nas.run(study(latency={"batch": 0})), "study: latency.batch: a number above 0 is needed, not 0"),
        (lambda: nas.run(study(space="none.yaml")), "no such file .*none.yaml"),
        (lambda: nas.run("none.yaml"), "there is no file none.yaml"),
        (lambda: SweepStage(candidates=0), "candidates: a number above 0 is needed, not 0"),
        (lambda: StudyDefinition(**study(seed=-1)), "seed: a number of 0 or more is needed, not -1"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_place(make: Callable[[], object], said: str) -> None:
    with pytest.raises(StudyError, match=said) as caught:
        make()
    assert isinstance(caught.value, NasError)
    assert "pydantic" not in str(caught.value)


def test_a_space_is_built_of_keys_and_rules() -> None:
    most: Any = MaxBlocks
    space = nas.DesignSpace(
        name="three", backbones=["resnet50"], sites=range(1, 18), blocks={"cnl": {"norm": ["dot"]}}, rules=[most(3)]
    )
    assert space.size_by_blocks() == {0: 1, 1: 17, 2: 136, 3: 680}
    assert space.id == nas.DesignSpace.from_dict(space.to_dict()).id
    with pytest.raises(SpaceError, match=r"design space: blocks.cnll: unknown block 'cnll'; did you mean 'cnl'"):
        nas.DesignSpace(name="three", backbones=["resnet50"], blocks={"cnll": {}})
    with pytest.raises(SpaceError, match="MaxBlocks: count: a number of 0 or more is needed, not -1"):
        most(-1)
