"""The study file: what is searched, on which data, how it is trained, timed and shrunk.

This module only says what a valid study is and resolves its paths; what the stages do is in
`nas.search.stages`. Every field below is one documented key of the YAML file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, Field, PositiveFloat, PrivateAttr, field_validator, model_validator

from nas.errors import StudyError, unknown_name
from nas.files.names import study_name
from nas.files.places import DEFAULT_URL, folders_of, located
from nas.files.yaml_source import YamlSource, load_yaml, validate
from nas.results.costs import COSTS
from nas.search import own_function
from nas.search.launchers.settings import LauncherSettings
from nas.search.settings import AsData, ObjectiveSettings, OwnObjective, Settings
from nas.search.starts import Start, parse_starts
from nas.shrinking.settings import RuleFamily
from nas.spaces import DesignSpace, RuleSet, own_code
from nas.training.fidelity import Fidelity
from nas.training.recipe import recipe_in

StudyName = Annotated[str, AfterValidator(study_name)]
Share = Annotated[float, Field(gt=0, le=1)]
MOST = 100_000
"""Trainings, or anything else that is counted, of one stage: ten times what the database is built for. A number with
too many zeros is refused before memory goes."""
PositiveInt = Annotated[int, Field(gt=0, le=MOST)]


class LoadSettings(Settings):
    """A network that works on the same device while networks are timed, in a process of its own."""

    network: str = Field(description="its notation")
    period_ms: PositiveFloat = Field(description="from the start of one of its batches to the next")


class SubjectSettings(Settings):
    """What is timed of a network."""

    heads: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="heads on its trunk: its own, and others like it, as where one network serves several tasks"
    )


class LatencySettings(Settings):
    """How networks are timed; the whole protocol is stored with every figure."""

    backend: str = Field(
        "auto", description="eager, compile, cuda_graphs, onnxruntime, tensorrt, openvino, ..., or module:Class"
    )
    device: str = Field("auto", description="cpu, cuda, auto, or the name of a far device")
    precision: Literal["fp32", "fp16", "bf16", "int8"] = Field(
        "fp32", description="number format of the timed network; int8: in onnxruntime on a CPU"
    )
    batch: PositiveInt = Field(16, description="images a batch")
    input: tuple[PositiveInt, PositiveInt] = Field((256, 128), description="height and width, px")
    dla: int | None = Field(None, description="core of a board's accelerator (TensorRT, fp16); null: the GPU alone")
    tf32: bool | None = Field(None, description="whether fp32 may use a GPU's TF32 units; null: no")
    channels_last: bool | None = Field(None, description="layout in PyTorch; null: channels last on a GPU")
    opset: PositiveInt | None = Field(None, description="ONNX operator set of backends that run from a file; null: 17")
    islands: bool | None = Field(None, description="ONNX backends in fp16: blocks keep sums in fp32; null: yes")
    warmup: PositiveInt | None = Field(None, description="untimed batches first; null: 3 on a CPU, 2 s on a GPU")
    batches: PositiveInt | None = Field(None, description="timed batches; null: as many as fit the time budget")
    time_budget_s: PositiveFloat | None = Field(None, description="seconds of timed batches a network")
    threads: PositiveInt | None = Field(None, description="CPU threads; null: all cores")
    builds: Annotated[int, Field(gt=0, le=1_000)] = Field(1, description="engine builds a network")
    subject: SubjectSettings = Field(SubjectSettings(), description="what is timed of a network")
    load: LoadSettings | None = Field(None, description="a second network that shares the device meanwhile")
    reference: str = Field("resnet101", description="network a good placement must beat in time and mAP")
    margin: float = Field(0.01, ge=0, description="share of its time up to which two networks count as equally fast")
    isolated: bool = Field(True, description="no training of ours runs while a network is timed")
    on: Literal["cuda", "cpu"] = Field("cuda", description="far device: where networks run there")
    wait_for_device: bool = Field(True, description="far device: wait for its figures before a stage closes")
    max_relative_error: Share = Field(0.05, description="additive model is trusted to screen below this error")


class ValidationSettings(Settings):
    """Identities held out of the training set, on which the search selects."""

    share: Share = Field(0.25, description="share of the training identities held out")
    seed: int = Field(0, ge=0, lt=2**62, description="which identities")


class ReportSettings(Settings):
    """What reports of the study show."""

    images: bool = Field(
        True, description="five images of the data; false: no image of the data is in a report, rank list or map of it"
    )


class ProfileStage(Settings):
    """Latency of the baselines and of every single placement; nothing is trained."""

    blocks: list[str] | None = Field(None, description="block types to time; null: all of the space")
    candidates: list[str] = Field([], description="networks timed besides, in notation")
    multi: int = Field(0, ge=0, le=MOST, description="random multi-block networks timed too, to fit the additive model")


class Budget(Settings):
    """What a study or a stage may cost, all workers together; workers that begin at one instant may begin one more."""

    trainings: PositiveInt | None = Field(None, description="trainings begun")
    hours: PositiveFloat | None = Field(None, description="hours of training, counted as trainings finish")
    gpu_hours: PositiveFloat | None = Field(None, description="of these, hours on a GPU")
    failures: int | None = Field(
        None, ge=0, description="failed trainings that are put up with; one more ends the study with exit code 2"
    )


OBJECTIVES = tuple(COSTS)
"""What mAP can be paid with; `nas.results.costs` says what each is."""


def _readable_start(written: object) -> object:
    parse_starts(written)
    return written


StartKey = Annotated[str | dict[str, int] | list[str | dict[str, int]], AfterValidator(_readable_start)]


BAND = {"max_slowdown", "max_latency_ms", "limits"}
"""Keys of what the candidates of a stage may cost; a shrink without any keeps to its sweep's."""


class TrainingStage(Settings):
    """What every stage that trains can say: where its trainings start, and what its candidates may cost."""

    start: StartKey | None = Field(
        None, description="scratch, plain (the trained plain network), {plain: 2}, a checkpoint; null: the study's"
    )
    max_slowdown: PositiveFloat | None = Field(None, description="latency limit, % over the baseline")
    max_latency_ms: PositiveFloat | None = Field(None, description="latency limit, ms")
    limits: dict[Literal[OBJECTIVES], PositiveFloat] = Field(  # type: ignore[valid-type]
        {}, description="upper limits on any cost, such as {params: 26e6, macs: 4.5e9}"
    )
    budget: Budget = Field(Budget(), description="the stage ends when it is spent; what nobody began is not done")
    named: list[str] = Field([], description="networks trained besides, in notation; also written `candidates: [...]`")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: object) -> object:
        """A list under `candidates` names networks, where a stage's own key of that name is a number."""
        own = cls.model_fields.get("candidates")
        listed = data.get("candidates") if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(listed, (list, tuple)):
            return data
        if own is not None and own.annotation == list[str]:
            return data
        rest = {key: value for key, value in data.items() if key != "candidates"}
        return {**rest, "named": [*rest.get("named", ()), *listed]}

    @field_validator("limits")
    @classmethod
    def _most(cls, limits: dict[str, float]) -> dict[str, float]:
        if falling := [name for name in limits if COSTS[name].more_is_better]:
            raise ValueError(f"{falling[0]} has no upper limit, as more is better; limit latency_ms in its place")
        return limits

    @property
    def band(self) -> dict[str, float]:
        """The most of each cost that candidates may have, where there is a limit."""
        most = dict(self.limits)
        for cost, limit in (("latency_ms", self.max_latency_ms), ("slowdown_percent", self.max_slowdown)):
            if limit is not None:
                most[cost] = min(limit, most.get(cost, limit))
        return most


class RungStage(TrainingStage):
    """What stages can say that end hopeless trainings early."""

    rungs: list[PositiveInt] | None = Field(None, description="epochs at which the better part goes on, ascending")
    keep: Share = Field(0.34, description="share promoted at each rung")

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, rungs: list[int] | None) -> list[int] | None:
        if rungs is not None and (len(rungs) < 2 or sorted(set(rungs)) != rungs):
            raise ValueError("rungs are two or more epochs in ascending order, such as [10, 40, 120]")
        return rungs


class SweepStage(RungStage):
    """Random, stratified or exhaustive candidates with replicates: the samples statistics use."""

    blocks: int | None = Field(None, ge=0, description="number of blocks a candidate; null: any the space admits")
    design: Literal["random", "stratified", "exhaustive"] = Field("random", description="how candidates are drawn")
    candidates: PositiveInt | None = Field(
        None, description="number of candidates, not with exhaustive; or a list: these networks, in notation"
    )
    seeds: PositiveInt = Field(1, description="trainings a candidate, each with its own seed")
    rules: list[Annotated[dict[str, object], AsData]] = Field(
        [], description="rules that its candidates keep beside the space's"
    )
    prefer: bool = Field(
        False, description="draw only what follows all the space's preferences, where such candidates exist"
    )
    baselines: bool = Field(
        True, description="also train the networks without blocks: the space's and the reference, or controls"
    )
    fidelity: Fidelity = Field(Fidelity(), description="cheaper training, see fidelity")

    @model_validator(mode="after")
    def _counted(self) -> SweepStage:
        if self.design == "exhaustive" and self.candidates is not None:
            raise ValueError("design: exhaustive trains every candidate; leave `candidates` out")
        if not self.draws and not self.named:
            raise ValueError("say how many `candidates` to train, or which, or use design: exhaustive")
        return self

    @property
    def draws(self) -> bool:
        """Whether candidates are drawn or listed, not only named."""
        return self.design == "exhaustive" or self.candidates is not None


class ShrinkStage(TrainingStage):
    """Derives rules from the results so far, proposes a child space and confirms it on fresh draws."""

    families: list[RuleFamily] = Field(
        ["cost", "sites", "stage_ends", "block_preference", "count"], description="families of rules to test"
    )
    confirm: int = Field(12, ge=0, le=MOST, description="fresh draws from parent and from child each; 0: derive only")
    seeds: PositiveInt = Field(1, description="trainings a fresh draw")
    fidelity: Fidelity | None = Field(None, description="of the fresh draws; null: as the last sweep")
    alpha: Share = Field(
        0.05, description="false discovery rate (Benjamini-Hochberg), shared out among the study's shrink stages"
    )
    margin: float = Field(
        0.0005, ge=0, description="mAP, or of one's own metric, within which two choices count as equal"
    )


class AutoShrinkStage(TrainingStage):
    """Sweeps and shrinks by itself until no rule passes or the budget is spent."""

    trainings: PositiveInt | None = Field(None, description="budget in trainings")
    hours: PositiveFloat | None = Field(None, description="budget in hours of training")
    candidates: PositiveInt | None = Field(
        None, description="candidates a round, fresh draws too; null: half of what is left of the budget"
    )
    confirm: int | None = Field(
        None,
        ge=6,
        le=MOST,
        description="fresh draws from parent and from child each, a round; null: an eighth of the round",
    )
    seeds: PositiveInt = Field(1, description="trainings a candidate")
    rounds: PositiveInt = Field(6, description="rounds at most")
    fidelity: Fidelity = Field(Fidelity(), description="cheaper training, see fidelity")
    alpha: Share = Field(0.05, description="false discovery rate (Benjamini-Hochberg) of all rounds together")
    margin: float = Field(
        0.0005, ge=0, description="mAP, or of one's own metric, within which two choices count as equal"
    )

    @model_validator(mode="after")
    def _bounded(self) -> AutoShrinkStage:
        if self.trainings is None and self.hours is None:
            raise ValueError("shrink: auto needs a budget: `trainings` or `hours`")
        return self


class SearchStage(RungStage):
    """Adaptive multi-objective search inside the current space, for the Pareto front."""

    sampler: str = Field("placement", description="placement (ours), random, tpe, gp, nsga2, nsga3, qmc, brute_force")
    trainings: PositiveInt = Field(description="budget: candidates trained")
    batch: PositiveInt = Field(
        4, description="candidates proposed together; results of the batch before the last are used"
    )
    seeds: PositiveInt = Field(1, description="trainings a candidate")
    fidelity: Fidelity = Field(Fidelity(), description="cheaper training, see fidelity")
    stagnation: PositiveInt | None = Field(
        None, description="propose no more after so many batches in which the front's hypervolume did not grow"
    )


class ConfirmStage(RungStage):
    """The front and the baselines at the full recipe; the test split is read here, once, or at each of its rungs."""

    front: bool = Field(True, description="confirm the Pareto front found so far")
    candidates: list[str] = Field([], description="candidates confirmed besides, in notation")
    baselines: list[str] | None = Field(
        None, description="networks without attention; null: the space's and the reference"
    )
    max_candidates: PositiveInt = Field(12, description="front candidates at most, spread over latency")
    seeds: PositiveInt = Field(3, description="trainings a candidate")
    fidelity: Fidelity = Field(Fidelity(), description="null: the full recipe")


class TuneStage(Settings):
    """The recipe's values within the space's `recipe:` domains, tuned on validation identities before all else."""

    network: str | None = Field(None, description="what is trained, in notation; null: the space's first baseline")
    trainings: Annotated[int, Field(ge=2, le=1_000)] = Field(
        24, description="settings tried once each, the recipe as it is among them"
    )
    finalists: PositiveInt = Field(4, description="the best of these, trained again beside the recipe as it is")
    seeds: Annotated[int, Field(ge=2, le=1_000)] = Field(3, description="fresh seeds of a finalist; only these decide")
    fidelity: Fidelity = Field(Fidelity(), description="cheaper training, see fidelity")


class PretrainStage(Settings):
    """Source networks for two-step fine-tuning: trained on other data, read on this study's test split as they are."""

    data: dict[str, object] | list[dict[str, object]] = Field(description="the source data set(s)")
    candidates: Annotated[list[str], Field(min_length=1)] = Field(description="networks to train, in notation")
    recipe: str | dict[str, object] | None = Field(None, description="null: the study's recipe, without `transfer`")
    seeds: PositiveInt = Field(1, description="source trainings a network; fine-tunings share them out by seed")


class RuleTestStage(TrainingStage):
    """Do the rules hold in other spaces? Networks that follow them against networks that do not, with a test."""

    spaces: Annotated[list[str | dict[str, object]], Field(min_length=1)] = Field(
        description="space files (or spaces), any backbones; each backbone is tested by itself"
    )
    rules: str | list[dict[str, object]] | dict[str, object] | None = Field(
        None,
        description="a rules file (or its content), or rules learned on the space's backbone; null: what this study "
        "adopted so far",
    )
    candidates: PositiveInt = Field(24, description="networks of each half, a backbone")
    seeds: PositiveInt = Field(1, description="trainings a network")
    fidelity: Fidelity = Field(Fidelity(), description="cheaper training, see fidelity")
    single: int = Field(
        0,
        ge=0,
        le=MOST,
        description="networks with one channel-wise block, and as many with several, that are trained on each backbone"
        " beside its plain network: is one such block sufficient there? 0: not asked",
    )
    alpha: Share = Field(0.05, description="family-wise error rate over the backbones (Holm)")


class StartStage(Settings):
    """Trains the plain networks that the stage after it starts from; a study has it by itself where it is needed.

    Attributes:
        before: name of that stage.
    """

    before: str
    view: Literal["select", "final"]
    fidelity: Fidelity
    plain: PositiveInt


START = "start"
"""Kind of the stages that a study has by itself; no file writes them."""


class StudyQuestion(Settings):
    """A study's own question as data: blocks against each other, answered with intervals whatever they say."""

    words: str = Field("", description="the question for people")
    compare: Annotated[list[str], Field(min_length=2)] = Field(description="names of blocks of the space")
    by: Literal["site", "stage", "count"] = Field(
        "site", description="paired by site, stage, or count (number of blocks)"
    )


STAGE_KINDS = ("profile", "tune", "pretrain", "sweep", "shrink", "auto_shrink", "search", "confirm", "test_rules")


class StageItem(Settings):
    """One entry of `stages`: exactly one kind with its settings, and a name where a kind comes twice."""

    name: str | None = Field(None, description="names the stage; default: its kind")
    profile: ProfileStage | None = None
    tune: TuneStage | None = None
    pretrain: PretrainStage | None = None
    sweep: SweepStage | None = None
    shrink: ShrinkStage | None = None
    auto_shrink: AutoShrinkStage | None = Field(None, description="also written `shrink: {auto: {...}}`")
    search: SearchStage | None = None
    confirm: ConfirmStage | None = None
    test_rules: RuleTestStage | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, item: object) -> object:
        if isinstance(item, str):
            item = {item: {}}
        item = {_KIND_OF[type(item)]: item} if type(item) in _KIND_OF else item
        if isinstance(item, StageItem):
            return item
        if not isinstance(item, Mapping):
            raise ValueError("a stage is a mapping such as {sweep: {candidates: 20}}")
        item = {k: ({} if v is None and k in STAGE_KINDS else v) for k, v in item.items()}
        shrink = item.get("shrink")
        if shrink == "auto":
            item["auto_shrink"] = {"trainings": 200}
            del item["shrink"]
        elif isinstance(shrink, Mapping) and "auto" in shrink:
            item["auto_shrink"] = item.pop("shrink")["auto"]
        return item

    @model_validator(mode="after")
    def _exactly_one(self) -> StageItem:
        kinds = [k for k in STAGE_KINDS if getattr(self, k) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"a stage has exactly one kind of {', '.join(STAGE_KINDS)}; this one has {kinds or 'none'}"
            )
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds this stage is."""
        return next(k for k in STAGE_KINDS if getattr(self, k) is not None)

    @property
    def settings(self) -> Any:
        """The settings model of the stage's kind."""
        return getattr(self, self.kind)


_KIND_OF: Mapping[type, str] = {
    kind: name
    for name in STAGE_KINDS
    for kind in get_args(StageItem.model_fields[name].annotation)
    if issubclass(kind, BaseModel)
}


@dataclass(frozen=True)
class StageDefinition:
    """A stage with the name and place it has in its study."""

    position: int
    name: str
    kind: str
    settings: Any

    def stored(self) -> dict[str, object]:
        """Settings as plain JSON data."""
        return dict(self.settings.model_dump(mode="json"))


class StudyDefinition(Settings):
    """A study file, or what would stand in one; `nas.run` takes it.

    >>> space = DesignSpace(name="one", backbones=["resnet50"], sites=[8], blocks=["cnl"])
    >>> study = StudyDefinition(name="small", space=space.to_dict(), stages=[{"sweep": {"design": "exhaustive"}}])
    >>> [stage.name for stage in study.named_stages()]
    ['sweep']
    """

    name: StudyName = Field(
        description="letters, digits, -, _ and ., 80 at most; names the study in the database and its report folder"
    )
    title: str = Field("", description="one line for people")
    question: str | StudyQuestion = Field(
        "", description="what the study wants to know; opens the report; {compare: [...]} is answered with numbers"
    )
    space: Annotated[str | dict[str, object], AsData] = Field(
        description="a search-space file, or the space itself; {within: SPACE, study: NAME, fallback: RULES} takes the"
        " rules that another study of the database adopted, {within: SPACE, rules: FILE} those of a file"
    )
    data: dict[str, Any] | list[dict[str, Any]] = Field(
        {"generated": {}}, description="data set(s); {train: ..., test: ...} crosses domains"
    )
    recipe: Annotated[str | dict[str, object], AsData] = Field(
        "strong_baseline",
        description="a recipe's name, or {extends: name, ...}; {study: NAME, extends: name, ...} takes the values that"
        " another study of the database tuned",
    )
    latency: LatencySettings = Field(LatencySettings(), description="how networks are timed")
    objective: OwnObjective = Field(
        None, description="{table: FILE} replays results; {python: module:function} or {command: [...]} train instead"
    )
    cost: Literal[OBJECTIVES] = Field("latency_ms", description="what is paid for mAP on the front")  # type: ignore[valid-type]
    more_costs: list[Literal[OBJECTIVES]] = Field(  # type: ignore[valid-type]
        [], description="further costs that are paid: the front and the samplers nsga2, nsga3, tpe and gp hold them too"
    )
    metrics: list[str] = Field(
        [], description="numbers of your own, computed beside mAP: module:function, or an entry point's name"
    )
    database: str = Field(DEFAULT_URL, description="SQLAlchemy URL; SQLite file or PostgreSQL")
    checkpoints: str | None = Field(None, description="folder or fsspec URL; null: .nas/checkpoints")
    keep_checkpoints: Literal["last", "best", "none"] = Field("best", description="which checkpoints stay at the end")
    # A training's seed is this plus its replicate, and a database holds 63 bits.
    seed: int = Field(0, ge=0, lt=2**62, description="seed of everything drawn")
    start: StartKey = Field(
        "scratch",
        description="where trainings start: scratch; plain, the plain network of the candidate's backbone, trained once"
        " at the full recipe; {plain: 2}, several of them; or the path of a trained plain network's checkpoint",
    )
    select_on: Literal["validation", "test"] = Field("validation", description="test: the paper's own protocol")
    validation: ValidationSettings = Field(ValidationSettings(), description="identities held out for selection")
    report: ReportSettings = Field(ReportSettings(), description="what its reports show")
    workers: Annotated[int, Field(gt=0, le=1_024)] = Field(1, description="processes that train, on this machine")
    launcher: LauncherSettings = Field(LauncherSettings(), description="where workers are started, and with what")
    budget: Budget = Field(Budget(), description="the study ends when it is spent; raise it to go on")
    priority: int = Field(0, ge=-MOST, le=MOST, description="workers of several studies serve the highest first")
    device: str = Field("auto", description="where networks train: auto, cpu, cuda (workers on all cards) or cuda:N")
    max_attempts: PositiveInt = Field(3, description="tries of a training that was interrupted or failed")
    max_training_hours: PositiveFloat | None = Field(
        None, description="a training that takes longer has failed, a block that hangs too; null: no limit"
    )
    stages: list[StageItem] = Field(description="in order, see the stage kinds", min_length=1)
    profiles: dict[str, dict[str, object]] = Field(
        {}, description="named changes to this file, `nas run --profile NAME`"
    )
    source: str | None = Field(None, exclude=True)
    _profile: str | None = PrivateAttr(None)

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:\d+)?", device) is None:
            raise ValueError(f"device must be auto, cpu, cuda or cuda:N, not {device!r}")
        return device

    @model_validator(mode="after")
    def _one_pretraining(self) -> StudyDefinition:
        if sum(stage.kind == "pretrain" for stage in self.named_stages()) > 1:
            raise ValueError("a study has one `pretrain` stage; list all its networks there")
        return self

    @model_validator(mode="after")
    def _tuned_first(self) -> StudyDefinition:
        kinds = [item.kind for item in self.stages]
        if "tune" in kinds and set(kinds[: len(kinds) - kinds[::-1].index("tune") - 1]) - {"profile"}:
            raise ValueError("a study has one `tune` stage, before everything else that trains")
        return self

    @model_validator(mode="after")
    def _costs_differ(self) -> StudyDefinition:
        columns = [COSTS[name].column for name in (self.cost, *self.more_costs)]
        if len(set(columns)) < len(columns):
            raise ValueError(f"more_costs: {', '.join(self.more_costs)} beside {self.cost} count one thing twice")
        told = set(self.objective.costs) if self.objective else set()
        if self.cost == "slowdown_percent" and self.cost in told and not told & {"latency_ms", "batches_per_s"}:
            raise ValueError("objective.costs: of slow-downs alone there is no front; tell latency_ms beside them")
        return self

    @model_validator(mode="after")
    def _stage_names_differ(self) -> StudyDefinition:
        names = [stage.name for stage in self.named_stages()]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"the stage name {twice[0]!r} is used twice; give one of them another `name`")
        return self

    def named_stages(self) -> list[StageDefinition]:
        """The stages in order; a kind that comes again gets a number: `sweep`, `sweep-2`.

        Before a stage that starts from plain networks stands one that trains them, `start`, unless they are trained by
        then; before one that may have other backbones than the space always, which shares what is trained.
        """
        found: list[StageDefinition] = []
        trained: dict[tuple[str, Fidelity], int] = {}
        for place, item in enumerate(self.stages):
            name = item.name or _numbered(item.kind, found)
            need = self._plain_networks(place, name)
            apart = _has_other_backbones(item)
            if need is not None and (apart or trained.get((need.view, need.fidelity), 0) < need.plain):
                found.append(StageDefinition(len(found), _numbered(START, found), START, need))
                if not apart:
                    trained[need.view, need.fidelity] = need.plain
            found.append(StageDefinition(len(found), name, item.kind, item.settings))
        return found

    def starts_of(self, settings: object) -> tuple[Start, ...]:
        """Where the trainings of a stage start."""
        if not isinstance(settings, TrainingStage):
            return (Start(),)
        return parse_starts(self.start if settings.start is None else settings.start)

    @property
    def is_warm(self) -> bool:
        """Whether any stage goes on from trained plain networks."""
        return any(start.is_warm for item in self.stages for start in self.starts_of(item.settings))

    def _plain_networks(self, place: int, name: str) -> StartStage | None:
        """What must be trained before a stage can start."""
        item = self.stages[place]
        plain = sum(start.kind == "plain" for start in self.starts_of(item.settings))
        if not plain or (self.objective is not None and not self.objective.is_own):
            return None
        final = self.objective is None and (item.kind == "confirm" or self.select_on == "test")
        fidelity = self._fidelity_at(place).of_data
        return StartStage(before=name, view="final" if final else "select", fidelity=fidelity, plain=plain)

    def _fidelity_at(self, place: int) -> Fidelity:
        """The fidelity of a stage; a shrink without one takes the last sweep's."""
        own: Fidelity | None = self.stages[place].settings.fidelity
        if own is not None:
            return own
        sweeps = [stage.settings.fidelity for stage in self.stages[:place] if stage.kind == "sweep"]
        return sweeps[-1] if sweeps else Fidelity()

    @property
    def profile(self) -> str | None:
        """The profile that was laid over the file."""
        return self._profile

    @property
    def folder(self) -> Path:
        """The folder of the file; the current one for a study written in Python."""
        return Path(self.source).resolve().parent if self.source else Path.cwd()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where paths of the study are looked for."""
        return folders_of(self.source)

    def beside(self, file: str) -> Path:
        """A file that the study names, where it lies on this machine.

        Raises:
            StudyError: it is not there.
        """
        path = located(file, self.folders)
        if not path.exists():
            said = f"{self.source or f'study {self.name!r}'}: no such file {self.folder / file}"
            raise StudyError(said, "it is looked for there, in the folder above, and in the current one")
        return path

    def stored(self) -> dict[str, object]:
        """The definition as it is kept in the database, so that workers elsewhere can read it back."""
        left_out = {"workers", "launcher", "database", "source", "profiles", "stages"}
        data = self.model_dump(mode="json", exclude=left_out)
        data["stages"] = [{s.kind: s.stored(), "name": s.name} for s in self.named_stages() if s.kind != START]
        return data


def _numbered(kind: str, before: Sequence[StageDefinition]) -> str:
    """A name for a stage: its kind, with a number from the second on."""
    count = sum(stage.kind == kind for stage in before)
    return kind if not count else f"{kind}-{count + 1}"


def _has_other_backbones(item: StageItem) -> bool:
    """Whether a stage trains networks on backbones that the study's space does not have."""
    return item.kind == "test_rules" or (item.kind == "confirm" and item.settings.baselines is not None)


EXECUTION_KEYS = frozenset(
    {
        "title",
        "question",
        "report",
        "checkpoints",
        "keep_checkpoints",
        "device",
        "max_attempts",
        "max_training_hours",
        "launcher",
        "budget",
        "priority",
    }
)
"""Keys that may change between two runs of a study: they leave every number as it is."""


def load_study(path: str | Path, profile: str | None = None) -> StudyDefinition:
    """Reads a study file.

    Args:
        path: the YAML file.
        profile: name of one of the file's `profiles`, whose changes are laid over it.

    Raises:
        StudyError: the file is missing, or a key or value in it is not valid (with line and column).
        TrainingError: the same of its recipe.
    """
    return _study(load_yaml(path, StudyError), profile, str(path))


def study_from(data: Mapping[str, object], profile: str | None = None) -> StudyDefinition:
    """A study from the content of a study file, written in Python; relative paths start from the current folder.

    Raises:
        StudyError: a key or value is not valid; names its place.
    """
    return _study(YamlSource("study", dict(data) if isinstance(data, Mapping) else data), profile, None)


Written: TypeAlias = str | Path | Mapping[str, object] | StudyDefinition
"""A study file, its content as a dictionary, or the definition itself."""


def read_study(study: Written, profile: str | None = None) -> StudyDefinition:
    """A study from a file, a dictionary or objects, checked.

    Raises:
        StudyError: a key or value is not valid; names its place.
    """
    if isinstance(study, StudyDefinition):
        return with_contents(study)
    return study_from(study, profile) if isinstance(study, Mapping) else load_study(study, profile)


def _study(source: YamlSource, profile: str | None, path: str | None) -> StudyDefinition:
    # A person gave this: the classes and programs that it names are theirs.
    own_code.trust(own_function.code_names(source.data))
    if profile is not None and isinstance(source.data, dict):
        of_profile = {place[2:]: mark for place, mark in source.marks.items() if place[:2] == ("profiles", profile)}
        data = merge(source.data, _profile(source, profile))
        source = replace(source, data=data, marks={**source.marks, **of_profile})
    study = validate(StudyDefinition, source, StudyError)
    if "recipe" in source.data and not (isinstance(study.recipe, dict) and "study" in study.recipe):
        recipe_in(source, ("recipe",))
    study._profile = profile
    return with_contents(study.model_copy(update={"source": path}))


def with_contents(study: StudyDefinition) -> StudyDefinition:
    """The study with the files of its `test_rules` stages read, its starts and table found: workers stand elsewhere.

    Raises:
        StudyError: a file is missing.
        SpaceError: something is wrong in one.
    """
    stages = [
        item if item.test_rules is None else item.model_copy(update={"test_rules": _read(study, item.test_rules)})
        for item in study.stages
    ]
    return with_starts(
        study.model_copy(
            update={
                "stages": stages,
                "space": _with_files(study, study.space),
                "objective": _with_table(study, study.objective),
            }
        ),
        lambda path: str(study.beside(path).resolve()),
    )


def with_starts(study: StudyDefinition, name: Callable[[str], str]) -> StudyDefinition:
    """The study with the paths of the checkpoints that it starts from replaced."""

    def named(start: object) -> object:
        if isinstance(start, (list, tuple)):
            return [named(item) for item in start]
        return name(start) if isinstance(start, str) and start not in ("scratch", "plain") else start

    stages = [
        item.model_copy(update={item.kind: item.settings.model_copy(update={"start": named(item.settings.start)})})
        if getattr(item.settings, "start", None) is not None
        else item
        for item in study.stages
    ]
    return study.model_copy(update={"stages": stages, "start": named(study.start)})


def _with_table(study: StudyDefinition, objective: ObjectiveSettings | None) -> ObjectiveSettings | None:
    """An objective with the path of a table that does not lie in the current folder from the root."""
    if objective is None or objective.table is None:
        return objective
    found = located(objective.table, study.folders).resolve()
    if not found.exists() or found == Path(objective.table).resolve():
        return objective
    return objective.model_copy(update={"table": str(found)})


def _with_files(study: StudyDefinition, space: str | dict[str, object]) -> str | dict[str, object]:
    """A space that takes rules from elsewhere, with the paths of its files from the root."""
    if isinstance(space, str) or "within" not in space:
        return space
    paths = {
        key: str(study.beside(text).resolve())
        for key in ("within", "rules", "fallback")
        if isinstance(text := space.get(key), str)
    }
    return {**space, **paths}


def _read(study: StudyDefinition, stage: RuleTestStage) -> RuleTestStage:
    spaces = [DesignSpace.from_yaml(study.beside(s)).to_dict() if isinstance(s, str) else s for s in stage.spaces]
    rules = RuleSet.load(study.beside(stage.rules)).to_dict() if isinstance(stage.rules, str) else stage.rules
    return stage.model_copy(update={"spaces": spaces, "rules": rules})


def _profile(source: YamlSource, name: str) -> Mapping[str, object]:
    profiles = source.data.get("profiles") or {}
    if not isinstance(profiles, Mapping):
        raise StudyError(f"{source.path}: `profiles` must map names to changes, not be {profiles!r}")
    if name not in profiles:
        raise StudyError(f"{source.path}: " + unknown_name("profile", name, profiles))
    changes = profiles[name]
    if not isinstance(changes, Mapping):
        raise StudyError(f"{source.path}: profile {name!r} must map keys to values, not be {changes!r}")
    return changes


def merge(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """A study file with a profile laid over it: keys are replaced, `latency` and `validation` key by key.

    >>> merge({"seed": 1, "latency": {"batch": 16, "builds": 3}}, {"latency": {"batch": 4}})
    {'seed': 1, 'latency': {'batch': 4, 'builds': 3}}
    """
    merged = {**base, **changes}
    for key in ("latency", "validation"):
        below, above = base.get(key), changes.get(key)
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            merged[key] = {**below, **above}
    return merged
