"""What does not ship with this package is part of a training's identity: timm's version, code of installed packages."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from search_builders import open_study

import nas
from nas.errors import StudyError
from nas.latency.placements import ProfileOutcome
from nas.latency.protocol import LatencyProtocol
from nas.search.context import StudyParts
from nas.search.definition import load_study
from nas.search.far_device import unmeasured
from nas.spaces import Candidate, DesignSpace, blocks, own_code
from nas.training.recipe import Recipe

OURS, THEIRS = "resnet18(width=0.125)", "timm:resnet10t"
BLOCK = """
from nas.networks.blocks import AttentionBlock
from nas.spaces import BlockSpec
from twice_package.factor import FACTOR

class Twice(AttentionBlock):
    spec = BlockSpec("twice", "Twice", "channel-wise", (), "this test", "Times a factor.")

    def __init__(self, shape):
        super().__init__()

    def forward(self, x):
        return FACTOR * x
"""


def study(folder: Path, *backbones: str, block: str = "se", name: str = "named") -> Path:
    path = folder / "study.yaml"
    space = {"name": "s", "backbones": list(backbones), "sites": [2], "blocks": [block]}
    data = {"generated": {"train_identities": 8, "test_identities": 4, "images": 2}}
    latency = {"reference": backbones[0], "input": [32, 16], "isolated": False}
    stages = [{"sweep": {"design": "exhaustive"}}]
    text = {"name": name, "space": space, "data": data, "recipe": "quickstart", "latency": latency, "stages": stages}
    path.write_text(yaml.safe_dump(text | {"select_on": "test", "database": f"sqlite:///{folder}/study.db"}))
    return path


@pytest.fixture
def timm_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the version of timm that is installed."""
    real = importlib.metadata.version

    def install(version: str) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "timm" else real(name))

    return install


def codes(path: Path) -> dict[str, str]:
    """What tells trainings of each candidate apart beside its name, recipe, data and seed."""
    context = StudyParts(load_study(path), None)  # type: ignore[arg-type]
    return {str(candidate): context.code_of(candidate, context.recipe) for candidate in context.space.enumerate()}


def test_two_versions_of_timm_share_no_training(tmp_path: Path, timm_is: Callable[[str], None]) -> None:
    pytest.importorskip("timm")
    path = study(tmp_path, THEIRS, "resnet18")
    found = []
    for version in ("1.0.30", "1.0.31", "1.0.30"):
        timm_is(version)
        found.append(codes(path))
    assert found[0] == found[2]
    for name, code in found[0].items():
        if name.startswith(THEIRS):
            assert len(code) == 16
            assert code != found[1][name]
        else:  # ours are what they were
            assert code == found[1][name] == ""


def test_a_study_does_not_go_on_with_another_timm(tmp_path: Path, timm_is: Callable[[str], None]) -> None:
    pytest.importorskip("timm")
    path = study(tmp_path, THEIRS)
    timm_is("1.0.30")
    open_study(path)
    timm_is("1.0.31")
    with pytest.raises(StudyError, match=f"the code of {THEIRS} was changed since study 'named' was started"):
        open_study(path)


def test_a_table_of_timm_s_networks_is_replayed_whatever_timm_is_here(
    tmp_path: Path, timm_is: Callable[[str], None]
) -> None:
    pytest.importorskip("timm")
    path = study(tmp_path, THEIRS)
    text = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key not in ("data", "select_on")}
    rows = [f"{THEIRS},0,0.8,30", f"{THEIRS}+se@2,0,0.8,30"]
    (tmp_path / "table.csv").write_text("\n".join(["candidate,seed,map,latency_ms", *rows]) + "\n")
    path.write_text(yaml.safe_dump(text | {"objective": {"table": "table.csv"}}))
    for version in ("1.0.30", "1.0.31"):
        timm_is(version)
        open_study(path)
        assert set(codes(path).values()) == {""}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package of two modules whose entry points are a block and a loss, beside another one."""
    root = tmp_path / "installed"
    info, modules = root / "twice-1.0.dist-info", root / "twice_package"
    for folder in (info, modules):
        folder.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: twice\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[nas.blocks]\ntwice = twice_package:Twice\n[nas.losses]\nflat = twice_package.losses:flat\n"
    )
    (modules / "__init__.py").write_text("import another_one\n" + BLOCK)
    (modules / "factor.py").write_text("FACTOR = 2\n")
    (modules / "losses.py").write_text("def flat(inputs):\n    return inputs.pooled.mean()\n")
    (root / "another_one.py").write_text("")
    monkeypatch.syspath_prepend(str(root))
    yield root
    for name in ("twice_package", "twice_package.factor", "twice_package.losses", "another_one"):
        sys.modules.pop(name, None)
    blocks._installed_spec.cache_clear()


def test_an_installed_package_s_code_is_what_its_own_modules_hold(package: Path) -> None:
    candidate, recipe = Candidate.parse("resnet18+twice@2"), Recipe(loss="flat+triplet")
    assert candidate.own_code == {"twice_package:Twice"}
    assert recipe.own_code == {"twice_package.losses:flat"}
    before = [own_code.code_hash(names) for names in (candidate.own_code, recipe.own_code)]
    (package / "another_one.py").write_text("FACTOR = 2\n")
    assert [own_code.code_hash(names) for names in (candidate.own_code, recipe.own_code)] == before
    (package / "twice_package" / "factor.py").write_text("FACTOR = 3\n")
    assert own_code.code_hash(candidate.own_code) != before[0]
    assert own_code.code_hash(recipe.own_code) == before[1]


def test_times_of_edited_code_are_not_taken_for_the_new(package: Path, tmp_path: Path) -> None:
    """A study of another name in the same database took them."""

    def untimed(name: str) -> int:
        _, repository, context = open_study(study(tmp_path, "resnet18", block="twice", name=name))
        found = unmeasured(context, context.space.enumerate())
        for network in found:
            repository.store_latency(
                {"median_ms": 1.0},
                architecture_id=network.id,
                notation=network.notation,
                protocol_id=context.protocol.id,
                device=context.device_name,
            )
        return len(found)

    assert [untimed("first"), untimed("second")] == [2, 0]
    (package / "twice_package" / "factor.py").write_text("FACTOR = 3\n")
    assert [untimed("third"), untimed("fourth")] == [2, 0]


def test_a_profile_of_edited_code_is_another(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = DesignSpace.from_dict({"name": "s", "backbones": ["resnet18"], "sites": [2], "blocks": ["twice"]})
    asked: list[LatencyProtocol] = []
    outcome = lambda planned, protocol, *_: (asked.append(protocol), ProfileOutcome(protocol, "here"))[1]  # noqa: E731
    monkeypatch.setattr("nas.commands.devices.run_profile", outcome)
    nas.profile(space)
    (package / "twice_package" / "factor.py").write_text("FACTOR = 3\n")
    nas.profile(space)
    own, edited = asked
    assert own.id != edited.id
    parts = StudyParts(load_study(study(tmp_path, "resnet18", block="twice")), None)
    assert parts.protocol.code == own.of_code([*space.own_code]).code


def test_a_study_that_was_begun_before_its_code_was_part_of_its_times_keeps_them(package: Path, tmp_path: Path) -> None:
    path = study(tmp_path, "resnet18", block="twice")
    _, repository, context = open_study(path)
    assert context.protocol.code
    before = replace(context.protocol, code=None)
    repository.set_study_latency(context.study_id, before.id, context.device_name)
    assert open_study(path)[2].protocol == before


def test_what_ships_has_no_code() -> None:
    assert Candidate.parse(f"{OURS}+cnl@3+eca@5").own_code == frozenset()
    assert Recipe().own_code == frozenset()
    assert own_code.code_hash([]) == ""
