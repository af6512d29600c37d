"""What every group of keys of a study shares, and the keys of an objective: one's own trainer in place of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from nas.errors import StudyError, unknown_name
from nas.files.model_errors import sentence_for
from nas.files.yaml_source import in_data
from nas.results.costs import COSTS
from nas.search import own_function


class Settings(BaseModel):
    """Keys of a study, from a file or written in Python.

    Raises:
        StudyError: a key or value is not valid; names its place, as `stages[1].sweep.seeds`.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    def __init__(self, /, **keys: object) -> None:
        try:
            super().__init__(**keys)
        except ValidationError as problem:
            raise StudyError(sentence_for(problem, type(self), in_data(keys))[0]) from None

    # So that pydantic reads files and nested values without it, and tells where in them something is wrong.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def _written(value: object) -> object:
    """Objects of Python as a file writes them: spaces, recipes, paths."""
    if isinstance(value, Path):
        return str(value)
    return value.to_dict() if hasattr(value, "to_dict") else value


AsData = BeforeValidator(_written)


class MetricSettings(Settings):
    """A number that one's own trainer gives."""

    unit: str = Field("", description="of a value; empty for a fraction or a count")
    better: Literal["more", "less"] = Field("more", description="whether more or less of it is better")


FRACTIONS = ("map", "rank1", "minp")
"""Metrics that have columns of their own in a results table, as fractions."""
OWN_KINDS = ("python", "command", "ask")


class ObjectiveSettings(Settings):
    """What stands for our training: a table of results, a function, a command, or a loop outside (ask and tell)."""

    table: str | None = Field(None, description="CSV of results that are replayed instead of training")
    seconds: float = Field(0.0, ge=0, description="table: how long each training is made to take")
    python: str | None = Field(None, description="module:function that trains a candidate and gives its numbers")
    command: list[str] | None = Field(
        None,
        min_length=1,
        description="arguments of a program that does; {notation}, {seed}, {epochs}, {fidelity} and {start} are filled "
        "in; its last line is JSON",
    )
    ask: bool = Field(False, description="a program asks for trainings and tells their results (`Study.ask`)")
    metrics: dict[str, MetricSettings] = Field(
        {"map": MetricSettings()}, min_length=1, description="the numbers that come back, by name"
    )
    judged: str = Field("", description="the metric that candidates are judged by; default: the first")
    costs: list[Literal[tuple(COSTS)]] = Field(  # type: ignore[valid-type]
        [], description="costs among them, which are then not measured or counted here"
    )

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: object) -> object:
        """Names alone are metrics without a unit; the first is judged by, whatever order a database gives them back."""
        if not isinstance(data, Mapping):
            return data
        metrics = data.get("metrics", ["map"])
        metrics = [metrics] if isinstance(metrics, str) else metrics
        metrics = {name: {} for name in metrics} if isinstance(metrics, (list, tuple)) else metrics
        first = next(iter(metrics), "") if isinstance(metrics, Mapping) else ""
        return {**data, "metrics": metrics, "judged": data.get("judged") or first}

    @model_validator(mode="after")
    def _one_kind(self) -> ObjectiveSettings:
        kinds = [name for name in ("table", *OWN_KINDS) if getattr(self, name)]
        if len(kinds) != 1:
            said = ", ".join(kinds) or "none of them"
            raise ValueError(f"an objective is one of table, python, command and ask; this one has {said}")
        if self.judged not in self.metrics:
            raise ValueError(unknown_name("metric", self.judged, self.metrics))
        for name in self.metrics:
            if name in COSTS:
                raise ValueError(f"{name} is a cost: write it under `costs`")
            if not name.isidentifier():
                raise ValueError(f"the name of a metric is letters, digits and _, not {name!r}")
        return self

    @property
    def is_own(self) -> bool:
        """Whether trainings are somebody else's than ours."""
        return self.table is None


def _objective(written: object) -> object:
    """A function, an `Objective` or the keys of one, as plain data."""
    if callable(written) and not hasattr(written, "to_dict"):
        return {"python": own_function.register(written)}
    data = _written(written)
    if isinstance(data, Mapping) and callable(data.get("python")):
        return {**data, "python": own_function.register(data["python"])}
    return data


OwnObjective = Annotated[ObjectiveSettings | None, BeforeValidator(_objective)]


class Objective:
    """One's own trainer, for the key `objective` of a study.

    >>> Objective(["python", "train.py", "{notation}"], metrics=["accuracy"]).to_dict()["metrics"]
    {'accuracy': {'unit': '', 'better': 'more'}}

    Args:
        trainer: a function of any of `candidate` (a `Candidate`), `seed` (int), `fidelity` (a `Fidelity`) and `start`
            (path of the weights to start from, or None) that gives a number or a dictionary of numbers; or its name
            `module:function`; or the arguments of a command, a list, never a shell; or None: a loop outside asks for
            trainings and tells their results.
        metrics: names of the numbers that come back, or their units and directions by name; the first is what
            candidates are judged by. `map`, `rank1` and `minp` are fractions.
        costs: names of costs among the numbers, as `latency_ms`, `energy_j`, `params`: then they are not measured here.

    Raises:
        StudyError: something of it is not valid.
    """

    def __init__(
        self,
        trainer: Callable[..., object] | str | Sequence[str] | None,
        *,
        metrics: Sequence[str] | Mapping[str, Mapping[str, str]] = ("map",),
        costs: Sequence[str] = (),
    ) -> None:
        if trainer is None:
            kind: dict[str, object] = {"ask": True}
        elif callable(trainer):
            kind = {"python": own_function.register(trainer)}
        else:
            kind = {"python": trainer} if isinstance(trainer, str) else {"command": list(trainer)}
        self.settings = ObjectiveSettings(**kind, metrics=metrics, costs=list(costs))

    def to_dict(self) -> dict[str, object]:
        """As a study file writes it."""
        return self.settings.model_dump(mode="json", exclude_defaults=True) | {
            "metrics": {name: settings.model_dump() for name, settings in self.settings.metrics.items()}
        }
