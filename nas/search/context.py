"""Everything a stage or a worker needs of its study: the space, the data, the recipe, the protocol.

Loaded when first asked for, so that `nas status` reads no image and imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nas import data, latency, networks, training
from nas.errors import StudyError
from nas.files.hashes import hash_of_data
from nas.files.places import located
from nas.latency.protocol import DeployedHead, LatencyProtocol
from nas.progress import Progress
from nas.results.columns import Metric, metric_of
from nas.results.costs import COSTS
from nas.search import handing
from nas.search.definition import PretrainStage, StageDefinition, StudyDefinition, TrainingStage
from nas.search.environment import environment
from nas.search.objectives import OwnTrainer
from nas.search.replay import ReplayTable
from nas.search.stage_results import TuneResult
from nas.search.starts import identity_forms
from nas.spaces import Candidate, DesignSpace, own_code
from nas.spaces.plugins import code_names
from nas.storage.kept import KeptResults
from nas.training.fidelity import Fidelity
from nas.training.recipe import Recipe, load_recipe, with_paths
from nas.training.settings import HEAD_SETTINGS

if TYPE_CHECKING:
    import pandas as pd

    from nas.data import PreparedData, ReidDataset
    from nas.data.load import Spec
    from nas.networks.complexity import Complexity
    from nas.search.cost_model import CostModel
    from nas.storage import Repository, StageInfo

SELECT, FINAL = "select", "final"
TABLE, OWN = "table", "own"
"""The only view of a study on a table, or with one's own trainer: their values, whichever stage asks."""
SPLITS = {SELECT: "val", FINAL: "test", "source": "transfer", TABLE: TABLE, OWN: OWN}
"""What a view's trainings are read on, as results tables name it."""
SOURCE = "source"
"""View of a `pretrain` stage: trained on its data, read on the test split of the study's own."""
OWN_VIEWS = {"confirm": FINAL, "pretrain": SOURCE, "tune": SELECT}
"""Views of the kinds of stages that train on another one than the search."""


@dataclass
class StudyParts:
    """What a study file names, loaded on demand: space, recipe, data, protocol, table.

    Attributes:
        definition: the study file.
        repository: the database in which other studies are looked up that hand on rules or a recipe; None for none.
        device: `cpu`, `cuda` or `cuda:N`, where this process trains.
        progress: told about slow preparations (generated images, packing, measuring).
    """

    definition: StudyDefinition
    repository: Repository | None = None
    device: str = field(default="cpu", kw_only=True)
    progress: Progress | None = field(default=None, kw_only=True)
    _datasets: dict[str, ReidDataset] = field(default_factory=dict, kw_only=True)
    _codes: dict[frozenset[str], str] = field(default_factory=dict, kw_only=True)
    _prepared: tuple[object, PreparedData] | None = field(default=None, kw_only=True)

    @cached_property
    def recipe(self) -> Recipe:
        """The study's recipe at full fidelity, before the study tunes it."""
        if handing.is_handed_recipe(self.definition.recipe):
            return handing.handed_recipe(self.definition, self.repository)
        return load_recipe(self.definition.recipe)

    @cached_property
    def space(self) -> DesignSpace:
        """The space the study starts from."""
        return load_space(self.definition, self.repository)

    @cached_property
    def searched(self) -> DesignSpace:
        """The space that stages work in: after a `tune` stage, which leaves no recipe values to vary, one without."""
        tunes = any(item.kind == "tune" for item in self.definition.stages)
        return DesignSpace.from_dict({**self.space.to_dict(), "recipe": {}}) if tunes else self.space

    @cached_property
    def pretraining(self) -> PretrainStage | None:
        """The settings of the study's `pretrain` stage."""
        return next((s.settings for s in self.definition.named_stages() if s.kind == "pretrain"), None)

    @cached_property
    def source_recipe(self) -> Recipe:
        """How the networks of the `pretrain` stage are trained."""
        given = None if self.pretraining is None else self.pretraining.recipe
        return self.recipe.with_overrides({"transfer": None}) if given is None else load_recipe(given)

    def recipe_of(self, view: str) -> Recipe:
        """The recipe at full fidelity that a view is trained with."""
        return self.source_recipe if view == SOURCE else self.recipe

    def rule_test_spaces(self, spaces: Sequence[str | Mapping[str, object]]) -> list[DesignSpace]:
        """The spaces of a `test_rules` stage; files start from the study's folder."""
        return [read_space(self.definition, space) for space in spaces]

    @cached_property
    def protocol(self) -> LatencyProtocol:
        """How networks are timed in this study; one begun before head and code were a part of it keeps its own."""
        plain = latency_protocol(self.definition)
        headed = replace(plain, head=self._deployed_head)
        found = next((one for one in (plain, headed) if one.id == self._begun), None)
        found = found or headed.of_code(self._timed_code)
        own = found.device == "cuda" and self.measures_here and self.device.startswith("cuda:")
        return replace(found, device=self.device) if own else found

    @cached_property
    def _begun(self) -> str | None:
        """Id of the protocol that the study was begun with; None where it was not begun."""
        known = () if self.repository is None else self.repository.studies()
        return next((study.protocol_id for study in known if study.name == self.definition.name), None)

    @property
    def has_one_head(self) -> bool:
        """Whether its networks must be deployed with one head: not where they were all timed with the BNNeck once."""
        return self.trains and self._begun != latency_protocol(self.definition).id

    @property
    def head(self) -> DeployedHead | None:
        """The head that networks of this study are deployed with; None: the BNNeck, and where others train them."""
        return self.protocol.head if self.trains else None

    @property
    def _deployed_head(self) -> DeployedHead | None:
        if not self.trains:
            return None
        recipe = self.recipe
        return DeployedHead(recipe.head_name, recipe.pooling, tuple(sorted(recipe.head_settings.items())))

    @property
    def _timed_code(self) -> frozenset[str]:
        """What networks that are timed run that does not ship with this package."""
        tests = [stage.settings for stage in self.definition.named_stages() if stage.kind == "test_rules"]
        spaces = [self.space, *(space for settings in tests for space in self.rule_test_spaces(settings.spaces))]
        heads = [self.recipe.head_name] if self.trains else []
        return code_names("head", heads, HEAD_SETTINGS).union(
            self.reference.own_code, *(space.own_code for space in spaces)
        )

    def complexity(self, candidate: Candidate) -> Complexity:
        """Sizes of a candidate as it is deployed, for images of the size that is timed."""
        head = {} if self.head is None else self.head.arguments()
        return networks.complexity(candidate, self.definition.latency.input, **head)

    @property
    def measures_here(self) -> bool:
        """Whether this machine measures latencies itself; else a far device of that name does."""
        return self.definition.latency.device.split(":")[0] in ("auto", "cpu", "cuda")

    @cached_property
    def device_name(self) -> str:
        """The device that latencies are of, as stored."""
        return latency.device_name(self.protocol) if self.measures_here else self.definition.latency.device

    @cached_property
    def baselines(self) -> list[Candidate]:
        """Backbones of the space without blocks."""
        return self.space.baselines()

    @cached_property
    def reference(self) -> Candidate:
        """The larger network that a good placement must beat, at the baseline's width."""
        return reference_candidate(self.definition.latency.reference, self.baselines[0])

    @cached_property
    def replay(self) -> ReplayTable | None:
        """The table that stands for trainings, when the study replays one."""
        objective = self.definition.objective
        if objective is None or objective.table is None:
            return None
        path = located(objective.table, self.definition.folders)
        table = ReplayTable.read(path, self.baselines[0].notation, self.definition.cost, objective.seconds)
        begun = self.repository and self.repository.replayed_table(self.definition.name)
        return table.as_begun((begun or "").removeprefix(f"{TABLE}-"))

    @cached_property
    def trainer(self) -> OwnTrainer | None:
        """Somebody's own trainer in place of ours."""
        objective = self.definition.objective
        return OwnTrainer(objective) if objective is not None and objective.is_own else None

    @property
    def trains(self) -> bool:
        """Whether networks of ours are trained here, on images."""
        return self.definition.objective is None

    @property
    def metric(self) -> Metric:
        """What trainings are judged by."""
        return metric_of(self.definition.stored())

    def tells(self, cost: str) -> bool:
        """Whether one's own trainer gives a cost, which is then neither measured nor counted."""
        told = () if self.trainer is None else self.trainer.settings.costs
        return cost in told or (COSTS[cost].kind == "timed" and any(COSTS[name].kind == "timed" for name in told))

    @cached_property
    def times(self) -> bool:
        """Whether networks are timed in this study: always beside our trainings, else where a cost asks for it."""
        if self.trainer is None:
            return self.replay is None
        stages = [stage.settings for stage in self.definition.named_stages()]
        limited = [name for stage in stages if isinstance(stage, TrainingStage) for name in stage.band]
        wanted = {
            self.definition.cost,
            *self.definition.more_costs,
            *limited,
            *(["latency_ms"] if self._profiles else []),
        }
        return any(COSTS[name].kind != "counted" and not self.tells(name) for name in wanted)

    @property
    def _profiles(self) -> bool:
        return any(stage.kind == "profile" for stage in self.definition.named_stages())

    def code_of(self, candidate: Candidate, recipe: Recipe) -> str:
        """Hash of blocks, backbone, head, losses, ... and trainer that do not ship with this package; "" without any.

        A network of timm's counts by timm's version, where it is trained and not replayed.

        Args:
            candidate: what is trained.
            recipe: with what: a `pretrain` stage's is another than the study's, a `tune` stage changes that.
        """
        names = candidate.own_code | self.recipe.own_code | recipe.own_code
        names |= own_code.named_in(dict(candidate.recipe))
        if self.replay is not None:
            names = frozenset(filter(own_code.is_own, names))
        if recipe.distil is not None:
            names |= training.taught_code(self.here(recipe))
        if names not in self._codes:
            blocks, trainer = own_code.code_hash(names), "" if self.trainer is None else self.trainer.code
            self._codes[names] = hash_of_data([blocks, trainer]) if trainer else blocks
        return self._codes[names]

    def dataset(self, view: str) -> ReidDataset:
        """The data of a view: `select` (validation identities) or `final` (test split)."""
        if view not in self._datasets and view == SOURCE:
            crossed = {"train": self._pretraining_data(), "test": self.definition.data}
            self._datasets[view] = data.dataset_view(self._load(crossed), FINAL)
        elif view not in self._datasets:
            held_out = self.definition.validation
            self._datasets[view] = data.dataset_view(self._own_data, view, val_share=held_out.share, seed=held_out.seed)
        return self._datasets[view]

    @cached_property
    def _own_data(self) -> ReidDataset:
        return self._load(self.definition.data)

    def _load(self, spec: Spec) -> ReidDataset:
        return data.load_dataset(spec, self.definition.folders, progress=self.progress)

    def here(self, recipe: Recipe, candidate: Candidate | None = None) -> Recipe:
        """A recipe with the paths of its files as they are on this machine."""
        return with_paths(recipe, lambda path: located(path, self.definition.folders), candidate)

    def _pretraining_data(self) -> Spec:
        if self.pretraining is None:
            raise StudyError("this study has no `pretrain` stage, so there is no source data")
        return self.pretraining.data

    @property
    def search_view(self) -> str:
        """The view that everything before `confirm` selects on."""
        if not self.trains:
            return TABLE if self.trainer is None else OWN
        return FINAL if self.definition.select_on == "test" else SELECT

    def view_of(self, stage: StageDefinition) -> str:
        """The view that a stage trains on."""
        return getattr(stage.settings, "view", None) or OWN_VIEWS.get(stage.kind, self.search_view)

    def seed(self, candidate: Candidate, replicate: int, *, source: bool = False) -> int | None:
        """The seed of a replicate; None where a table has fewer of the candidate, or of it as a source.

        A candidate that the table does not have keeps one, so that its training is asked for, and fails.
        """
        if self.replay is None:
            return self.definition.seed + replicate
        known = self.replay.seeds(candidate, source=source) or [0]
        return known[replicate] if replicate < len(known) else None

    def prepared(self, view: str, fidelity: Fidelity) -> PreparedData:
        """Packed images of a view at a fidelity's size and share of identities; the last ones asked for are kept."""
        size = self.recipe_of(view).at(fidelity).input
        asked = (view, size, fidelity.identities_share)
        if self._prepared is None or self._prepared[0] != asked:
            self._prepared = None  # a GPU has no room for both
            found = data.prepare(
                self.dataset(view),
                size,
                identities_share=fidelity.identities_share,
                seed=self.definition.validation.seed,
                progress=self.progress,
                device=self.device,
            )
            self._prepared = asked, found
        return self._prepared[1]


@dataclass
class StudyContext(StudyParts):
    """A study in a database, as its stages and workers see it.

    What was read of its results is kept, so that a look reads only what is new.

    Attributes:
        repository: the database.
        study_id: the study's row.
        owner: who works here, for leases; unique a process.
        stopping: asked between slow steps; true ends them early.
        say: told in words what this worker waits for or does beside trainings, for whoever watches; "" when it is over.
        measures_for: name of the far device that this machine is; None for none.
        cost_models: models of `CostModel.of` by unit, each with the costs that it was made from.
    """

    repository: Repository = field()
    study_id: int = field()
    owner: str = "nobody"
    stopping: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda words: None
    measures_for: str | None = None
    cost_models: dict[str, tuple[pd.DataFrame | None, CostModel]] = field(default_factory=dict, kw_only=True)
    _spaces: dict[str, DesignSpace] = field(default_factory=dict, init=False)
    _looks_once: bool = field(default=False, init=False)
    _looked: bool = field(default=False, init=False)

    def tuned(self, view: str) -> dict[str, object]:
        """The recipe values that the study's `tune` stage chose; empty before it has, and without one."""
        if not any(item.kind == "tune" for item in self.definition.stages):
            return {}
        if view == SOURCE and self.pretraining is not None and self.pretraining.recipe is not None:
            return {}  # a recipe that the file writes out for its sources
        return TuneResult.recipe_of(self.repository.stages(self.study_id)) or {}

    def space_of(self, stage: StageInfo) -> DesignSpace:
        """The space a stage works in: the one that the stage before it left; kept, with all that it has counted."""
        if stage.space_id is not None and stage.space_id not in self._spaces:
            stored = self.repository.space(stage.space_id)
            self._spaces[stage.space_id] = self.space if stored is None else DesignSpace.from_dict(stored.definition)
        return self.space if stage.space_id is None else self._spaces[stage.space_id]

    @cached_property
    def precision(self) -> str | None:
        """What `precision: auto` means in this study: decided where it was registered, equal on every machine."""
        found = self.repository.study(self.definition.name).definition.get("precision")
        return None if found is None else str(found)

    @cached_property
    def environment_id(self) -> str:
        """Id of what this process runs on, stored once."""
        return self.repository.ensure_environment(environment(self.device))

    def data_id(self, view: str) -> str:
        """Id of the data of a view: of the table that is replayed, of what one's own trainer trains on, of the images.

        Raises:
            StudyError: the study began on another table.
        """
        if self.replay is not None:
            name = f"{TABLE}-{self.replay.id}"
            if self.repository.replayed_table(self.definition.name) not in (None, name):
                raise StudyError(
                    f"objective: {self.replay.name} holds other values than when {self.definition.name!r} began",
                    "an edited table is another one: give the study a new name, or put the former table back",
                )
            return name
        if self.trainer is not None:
            told = f"-{hash_of_data(self.definition.name)}" if self.trainer.settings.ask else ""
            return f"{OWN}-{self.trainer.meaning}{told}"
        return self.dataset(view).id

    @cached_property
    def table_id(self) -> str:
        """Id of the replayed table as a data set, stored once with all it says of costs.

        Raises:
            StudyError: the study began on another table.
        """
        if self.replay is None:
            raise StudyError("this study trains its candidates; it replays no table")
        spec = {"table": self.replay.name, "costs": self.replay.costs}
        self.repository.ensure_dataset(name := self.data_id(TABLE), TABLE, spec, {})
        return name

    @cached_property
    def own_id(self) -> str:
        """Id of what one's own trainer trains on, as a data set: what its numbers mean, stored once."""
        if self.trainer is None:
            raise StudyError("this study has no trainer of its own")
        self.repository.ensure_dataset(name := self.data_id(OWN), OWN, {"objective": self.trainer.what}, {})
        return name

    @cached_property
    def _kept(self) -> KeptResults:
        return KeptResults(self.repository, self.definition.name)

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Until something is asked for, `results` shows within what the first look showed: a plan reads once."""
        self._looks_once, self._looked = True, False
        try:
            yield
        finally:
            self._looks_once = self._looked = False

    def asked(self) -> None:
        """Says that trainings were asked for: who planned looks again."""
        self._looked = False

    def _look(self) -> KeptResults:
        if not self._looked:
            self._kept.look()
            self._looked = self._looks_once
        return self._kept

    def results(self) -> pd.DataFrame:
        """The results table of this study."""
        return self._look().results()

    def sampler_attrs(self) -> dict[int, Mapping[str, object]]:
        """What samplers noted beside their proposals, by training id; trainings without a note are left out."""
        return self._look().sampler_attrs()

    def costs(self) -> pd.DataFrame:
        """What the study's networks cost, as `Repository.costs`; the same object as long as it is the same."""
        return self._look().costs()


def load_space(definition: StudyDefinition, repository: Repository | None = None) -> DesignSpace:
    """The design space that a study file names or contains, or that another study's rules leave."""
    if not handing.is_handed_space(definition.space):
        return read_space(definition, definition.space)
    return handing.handed_space(definition, repository)


def read_space(definition: StudyDefinition, space: str | Mapping[str, object]) -> DesignSpace:
    """A space that a study file names or contains; under a warm start its blocks take their identity forms."""
    read = DesignSpace.from_yaml(definition.beside(space)) if isinstance(space, str) else DesignSpace.from_dict(space)
    return identity_forms(read) if definition.is_warm else read


def reference_candidate(notation: str, baseline: Candidate) -> Candidate:
    """The reference network; a plain name takes the baseline's width and last stride."""
    candidate = Candidate.parse(notation)
    if "(" in notation or not notation.startswith("resnet"):
        return candidate
    return Candidate.make(candidate.backbone, candidate.placements, dict(baseline.backbone_params))


def latency_protocol(definition: StudyDefinition) -> LatencyProtocol:
    """The measuring protocol of a study file, with `auto` resolved on this machine."""
    given = definition.latency.model_dump(
        exclude={"reference", "margin", "on", "wait_for_device", "max_relative_error", "device", "subject"}
    )
    values = {key: value for key, value in given.items() if value is not None}
    values |= {"heads": definition.latency.subject.heads, "device": latency_device(definition)}
    return LatencyProtocol.from_dict(values)


def latency_device(definition: StudyDefinition) -> str:
    """`cpu`, `cuda` or `cuda:N`; for a far device, where its file says that networks run there."""
    device = definition.latency.device
    if device == "auto":
        return _usable(device)
    return device if device.split(":")[0] in ("cpu", "cuda") else definition.latency.on


def training_device(definition: StudyDefinition, device: str | None = None) -> str:
    """Where this machine trains: the device that a worker was given, or the study's, or what there is.

    Raises:
        StudyError: there is no such device here.
    """
    if definition.objective is not None:
        return "cpu"
    wanted = device or definition.device
    try:
        return _usable(wanted)
    except StudyError as error:
        raise StudyError(f"device: {wanted}: {error.message}", "set device: auto") from error


def worker_devices(definition: StudyDefinition) -> list[str]:
    """The devices that this machine's workers take in turn: the study's, or every card."""
    device = training_device(definition)
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


@lru_cache(maxsize=16)
def _usable(device: str) -> str:
    from nas.data.devices import usable_device

    return usable_device(device, StudyError)


def cache_folder() -> Path:
    """Where checkpoints and logs of this folder's studies live: `.nas` here, or `$NAS_HOME`."""
    return Path(os.environ.get("NAS_HOME", ".nas"))
