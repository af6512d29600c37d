"""`nas train`: one candidate by hand."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import commands, files, spaces, training
from nas import data as images
from nas.cli.common import Json, Notation, duration, emit, emit_json, note, progress_bar
from nas.cli.inputs import Cache, Data, Device, View, prepare_data, tell_metrics
from nas.errors import TrainingError

if TYPE_CHECKING:
    from nas.data.prepared import PreparedData
    from nas.training import Recipe, TrainingResult

INTERRUPTED = 130
JUDGED_ON = {"final": "test split", "select": "validation identities, held out of the training split"}
"""What the numbers of a view are read on."""


def train(
    candidate: Notation,
    data: Data,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file with one.")] = "strong_baseline",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. triplet.margin=0.5.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Fewer epochs; the schedule shrinks with them.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Checkpoint file; default: in ./checkpoints.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint file when it is there.")] = True,
    stop_epoch: Annotated[int | None, typer.Option(min=1, help="Stop after this epoch; run again to go on.")] = None,
    start: Annotated[Path | None, typer.Option(help="Go on from this trained plain network, for a few epochs.")] = None,
    transfer: Annotated[Path | None, typer.Option(help="Fine-tune this checkpoint in two steps.")] = None,
    view: View = "final",
    device: Device = "auto",
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Train one candidate and evaluate it. Ctrl-C writes a checkpoint; the same command goes on from it.

    Example: nas train resnet50+cnl@6,8,14 --data market1501:data/Market-1501-v15.09.15
    """
    place = images.usable_device(device)
    parsed = spaces.Candidate.parse(candidate)
    chosen = commands.recipe_of(recipe, transfer, dict(_assignment(change) for change in set_ or []))
    fidelity = training.Fidelity(epochs=epochs)
    final = training.final_recipe(parsed, chosen, fidelity, warm=start is not None)

    def find_weights() -> None:
        published = start is None and final.transfer is None
        with progress_bar("weights", enabled=published and not json) as progress:
            commands.require_sources(parsed, final, start, progress)

    prepared = prepare_data(data, view, final.input, cache, find_weights)
    path = out or Path("checkpoints") / f"{parsed.id}_{final.name}_s{seed}.pt"
    files.check_outputs((path,), (start, transfer), force=True)
    note(f"{parsed.notation}: {final.name}, {final.total_epochs} epochs, {prepared.name}, writing {path}")
    try:
        with progress_bar("train", enabled=not json) as progress, _polite_stop() as should_stop:
            result = training.train(
                parsed,
                chosen,
                prepared,
                seed=seed,
                fidelity=fidelity,
                checkpoint=path,
                resume=resume,
                device=place,
                stop_epoch=stop_epoch,
                init_from=start,
                should_stop=should_stop,
                progress=progress,
            )
    except training.TrainingInterrupted as stopped:
        note(str(stopped))
        raise typer.Exit(INTERRUPTED) from stopped
    if json:
        emit_json(_training_document(parsed.notation, final, prepared, JUDGED_ON[view], result))
    else:
        _tell_training(result, JUDGED_ON[view])


def _assignment(text: str) -> tuple[str, object]:
    """`triplet.margin=0.5` as key and value; the value is read as YAML.

    >>> _assignment("milestones=[20, 35]")
    ('milestones', [20, 35])
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TrainingError(f"--set takes KEY=VALUE, not {text!r}", "For example --set base_lr=5e-4.")
    return key, files.parse_yaml(f"value: {value}", f"--set {key}", TrainingError).data["value"]


@contextmanager
def _polite_stop() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM ask the training to write itself down and stop; a second Ctrl-C is immediate."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        note("stopping at the next step; press Ctrl-C again to stop without saving")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _training_document(
    candidate: str, recipe: Recipe, data: PreparedData, judged_on: str, result: TrainingResult
) -> dict[str, object]:
    told = ("seed", "seconds", "images_per_second", "precision", "checkpoint", "checkpoint_sha256")
    return {
        "candidate": candidate,
        "recipe": recipe.to_dict(),
        "recipe_id": recipe.id,
        "data": {"name": data.name, "id": data.dataset_id, "judged_on": judged_on},
        "metrics": result.metrics.to_dict(),
        "epochs": [asdict(epoch) for epoch in result.epochs],
        **{name: getattr(result, name) for name in told},
    }


def _tell_training(result: TrainingResult, judged_on: str) -> None:
    emit(f"Judged on the {judged_on}:")
    tell_metrics(result.metrics)
    emit(
        f"{len(result.epochs)} epochs in {duration(result.seconds)}, {result.images_per_second:.0f} images/s "
        f"in {result.precision}"
    )
    if result.checkpoint is not None:
        emit(f"weights: {result.checkpoint}")
