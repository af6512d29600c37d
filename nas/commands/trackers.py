"""Callbacks that write a study's trainings where people look at runs: TensorBoard, MLflow, Weights & Biases.

Each needs its package, an extra of ours; a training is one run there, with its candidate, seed and numbers.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import StudyError
from nas.search.callbacks import Callback, EpochEvent, TrainingEvent


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StudyError(f"{name} cannot be imported: {error}", f"pip install 'nas-reid[{extra}]'") from error


def _facts(event: TrainingEvent) -> dict[str, object]:
    return {"candidate": event.notation, "seed": event.seed, "stage": event.stage, "fidelity": event.fidelity}


class TensorBoard(Callback):
    """Curves and results as TensorBoard event files: one folder a training, and `study` with results in their order.

    Args:
        folder: log folder, for `tensorboard --logdir`.

    Raises:
        StudyError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._writer = _package("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._open: dict[int, Any] = {}
        self._study: Any = None
        self._results = 0

    def study_began(self, study: str, definition: Mapping[str, object]) -> None:
        self._folder /= study
        self._study = self._writer(str(self._folder / "study"))

    def stage(self, name: str, kind: str, status: str) -> None:
        self._study.add_text("stages", f"{name} ({kind}): {status}", self._results)

    def training(self, event: TrainingEvent) -> None:
        writer = self._of(event.id)
        if event.status == "running":
            writer.add_text("training", ", ".join(f"{name} {value}" for name, value in _facts(event).items()))
            return
        self._results += 1
        for name, value in event.numbers.items():
            writer.add_scalar(f"result/{name}", value, 0)
            self._study.add_scalar(f"result/{name}", value, self._results)
        if event.failure:
            writer.add_text("failure", event.failure)
        self._open.pop(event.id).close()
        self._study.flush()

    def epoch(self, event: EpochEvent) -> None:
        for name, value in event.numbers.items():
            self._of(event.training).add_scalar(f"training/{name}", value, event.epoch)

    def rule(self, stage: str, sentence: str, evidence: Mapping[str, object]) -> None:
        self._study.add_text("rules", f"{stage}: {sentence}", self._results)

    def study_ended(self, study: str, finished: bool) -> None:
        for writer in (*self._open.values(), self._study):
            writer.close()

    def _of(self, training: int) -> Any:
        if training not in self._open:
            self._open[training] = self._writer(str(self._folder / f"training-{training:05d}"))
        return self._open[training]


class MLflow(Callback):
    """One MLflow run a training, in an experiment of the study's name.

    Args:
        uri: tracking server or store, as `sqlite:///mlflow.db` or `http://HOST:5000`; None: MLflow's own setting.

    Raises:
        StudyError: mlflow is not installed.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._client = _package("mlflow", "mlflow").MlflowClient(tracking_uri=uri)
        self._runs: dict[int, str] = {}
        self._experiment = ""

    def study_began(self, study: str, definition: Mapping[str, object]) -> None:
        known = self._client.get_experiment_by_name(study)
        self._experiment = self._client.create_experiment(study) if known is None else known.experiment_id

    def training(self, event: TrainingEvent) -> None:
        run = self._of(event.id)
        if event.status == "running":
            for name, value in _facts(event).items():
                self._client.log_param(run, name, value)
            return
        for name, value in event.numbers.items():
            self._client.log_metric(run, name, value)
        if event.failure:
            self._client.set_tag(run, "failure", event.failure)
        self._client.set_terminated(run, "FAILED" if event.status == "failed" else "FINISHED")
        del self._runs[event.id]

    def epoch(self, event: EpochEvent) -> None:
        for name, value in event.numbers.items():
            self._client.log_metric(self._of(event.training), f"training_{name}", value, step=event.epoch)

    def rule(self, stage: str, sentence: str, evidence: Mapping[str, object]) -> None:
        number = sum(name.startswith("rule_") for name in self._client.get_experiment(self._experiment).tags)
        self._client.set_experiment_tag(self._experiment, f"rule_{number + 1}", f"{stage}: {sentence}")

    def study_ended(self, study: str, finished: bool) -> None:
        for run in self._runs.values():
            self._client.set_terminated(run, "KILLED")

    def _of(self, training: int) -> str:
        if training not in self._runs:
            run = self._client.create_run(self._experiment, tags={"mlflow.runName": f"training {training}"})
            self._runs[training] = run.info.run_id
        return self._runs[training]


class WeightsAndBiases(Callback):
    """One run a training, written when it ends, in a group of the study's name.

    Args:
        project: of the runs.
        folder: where they are kept.
        mode: `offline` (`wandb sync` uploads them later) or `online`.

    Raises:
        StudyError: wandb is not installed.
    """

    def __init__(self, project: str, folder: str | Path = ".", mode: str = "offline") -> None:
        self._wandb = _package("wandb", "wandb")
        self._where: dict[str, object] = {"project": project, "dir": str(folder), "mode": mode}
        self._epochs: dict[int, list[EpochEvent]] = {}
        self._study = ""

    def study_began(self, study: str, definition: Mapping[str, object]) -> None:
        self._study = study

    def epoch(self, event: EpochEvent) -> None:
        self._epochs.setdefault(event.training, []).append(event)

    def training(self, event: TrainingEvent) -> None:
        if event.status == "running":
            return
        run = self._wandb.init(
            **self._where, group=self._study, name=f"training {event.id}", config=_facts(event), reinit="create_new"
        )
        for epoch in self._epochs.pop(event.id, []):
            run.log({f"training/{name}": value for name, value in epoch.numbers.items()}, step=epoch.epoch)
        run.summary.update({**event.numbers, **({"failure": event.failure} if event.failure else {})})
        run.finish(exit_code=int(event.status == "failed"))
