"""Where the trainings of a study start: from scratch, from plain networks that it trains once, or from checkpoints.

A start is written in the study file (`start:`), for the study or a stage; this module reads what is written, and finds
the weights behind it. Several starts are dealt out to the seeds: seed number r has the start number r mod n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas import training
from nas.errors import StudyError
from nas.files.hashes import sha256_of
from nas.spaces import DesignSpace, get_block_spec
from nas.spaces.blocks import IDENTITY

if TYPE_CHECKING:
    from nas.search.context import StudyContext, StudyParts
    from nas.spaces import Candidate
    from nas.training.fidelity import Fidelity

SCRATCH, PLAIN, CHECKPOINT = "scratch", "plain", "checkpoint"
START_ROLE, SOURCE_ROLE, CONTROL = "start", "source", "control"
PLAIN_SEEDS = 1_000_000
"""Seeds of the plain networks begin here: the same in all studies, which so share them, and those of no sweep."""
LEAST_CONTROLS = 2
"""One control has no spread: candidates could not be told from its noise."""
WEIGHTS = "weights_sha256"
"""Key of a training's metrics: SHA-256 of the weights that it left for others to go on with."""
_SPLITS = {"select": "val", "final": "test", "own": "own"}


@dataclass(frozen=True)
class Start:
    """One start as a study file means it.

    Attributes:
        kind: scratch, plain or checkpoint.
        number: which of several plain networks.
        path: of a checkpoint, as written.
    """

    kind: Literal["scratch", "plain", "checkpoint"] = "scratch"
    number: int = 0
    path: str = ""

    @property
    def is_warm(self) -> bool:
        """Whether a training goes on from trained weights."""
        return self.kind != SCRATCH


FROM_SCRATCH = Start()


@dataclass(frozen=True)
class FoundStart:
    """A start with its weights.

    Attributes:
        id: as the training's identity holds it, by content: `plain:<hash>` or `checkpoint:<hash>`.
        training: the training that left the weights; None for a file.
    """

    id: str
    training: int | None = None


def parse_starts(written: object) -> tuple[Start, ...]:
    """The starts behind a key `start`: `scratch`, `plain`, `{plain: 2}`, a path, or a list of the latter three.

    >>> [start.number for start in parse_starts({"plain": 2})]
    [0, 1]

    Raises:
        ValueError: it is none of these; the sentence says why.
    """
    found: list[Start] = []
    for item in written if isinstance(written, (list, tuple)) else [written]:
        found += _parsed(item, sum(start.kind == PLAIN for start in found))
    if not found:
        raise ValueError("a list of starts needs at least one")
    if FROM_SCRATCH in found and len(found) > 1:
        raise ValueError("scratch cannot stand beside other starts: compare the two in studies or stages of their own")
    if len(set(found)) < len(found):
        raise ValueError("a start is named twice")
    return tuple(found)


def _parsed(item: object, plain_before: int) -> list[Start]:
    if item == SCRATCH:
        return [FROM_SCRATCH]
    if item == PLAIN:
        item = {PLAIN: 1}
    if isinstance(item, Mapping):
        number = item.get(PLAIN)
        if set(item) != {PLAIN} or isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 99:
            raise ValueError("several plain networks are written {plain: 2}, with a number from 1 to 99")
        return [Start("plain", plain_before + i) for i in range(number)]
    if not isinstance(item, str) or not item:
        raise ValueError("a start is scratch, plain, {plain: 2} or the path of a checkpoint")
    return [Start("checkpoint", path=item)]


def identity_forms(space: DesignSpace) -> DesignSpace:
    """The space with every block put in as the identity, where the space does not say how it is put in."""
    data = space.to_dict()
    given = data["blocks"]
    assert isinstance(given, dict)
    blocks = {name: _with_form(space, name, params) for name, params in given.items()}
    return DesignSpace.from_dict({**data, "blocks": blocks})


def _with_form(space: DesignSpace, block: str, params: dict[str, object]) -> dict[str, object]:
    spec, forms = get_block_spec(block), space.definition.forms(block)
    needed = "start" not in params and not all(spec.is_identity(dict(form)) for form in forms)
    return {**params, "start": [IDENTITY]} if needed else params


def control_count(candidates: int) -> int:
    """How often a control is trained beside so many candidates: about the square root, so that its noise is small.

    >>> control_count(36), control_count(1)
    (6, 2)
    """
    return max(LEAST_CONTROLS, round(math.sqrt(candidates)))


def moved_start(start_id: str, number: int) -> str:
    """The start of a control: the same weights, moved.

    >>> moved_start("plain:0a", 0), moved_start("plain:0a", 2)
    ('plain:0a', 'plain:0a+2')
    """
    return f"{start_id}+{number}" if number else start_id


def split_start(start_id: str) -> tuple[str, int]:
    """A start without its move, and the number of the move.

    >>> split_start("plain:0a+2"), split_start("scratch")
    (('plain:0a', 2), ('scratch', 0))
    """
    start, _, number = start_id.partition("+")
    return start, int(number or 0)


def find_start(context: StudyContext, start: Start, candidate: Candidate, view: str, fidelity: Fidelity) -> FoundStart:
    """The weights that a candidate starts from.

    Args:
        context: the study.
        start: what the study file says.
        candidate: what is to be trained.
        view: the data it is trained on.
        fidelity: of that training; its part about the data counts.

    Raises:
        StudyError: there are no such weights, or they were not kept.
    """
    if not start.is_warm:
        return FoundStart(SCRATCH)
    if start.kind == CHECKPOINT:
        own, former = names_of(context, start_file(start))
        return FoundStart(former if context.repository.knows_start(former) else own)  # what is trained stays shared
    if context.replay is not None:
        return FoundStart(f"{PLAIN}:{context.replay.id}" + (f"-{start.number}" if start.number else ""))
    training = plain_training(context, start.number, candidate, view, fidelity)
    left = None if training is None else left_by(context.repository.training(training))
    if training is None or left is None:
        said = "is not trained" if training is None else "was trained without keeping its weights"
        raise StudyError(
            f"the start of {candidate}, the plain network {candidate.baseline}, {said}",
            "see `nas status`; a study with a start needs a recipe that keeps weights (keep: last)",
        )
    return FoundStart(f"{PLAIN}:{left[:16]}", training)


def left_by(training: Mapping[str, Any] | None) -> str | None:
    """SHA-256 of what others go on with of a stored training: of its weights, where they were told apart from its file.

    They are not where one's own trainer wrote the file, and of trainings made when files counted whole, whose name
    stays. None: no file was kept.
    """
    stored = training or {}
    sha256: str | None = stored.get("checkpoint_sha256")
    return sha256 and (stored.get("metrics") or {}).get(WEIGHTS, sha256)


def plain_training(
    context: StudyContext, number: int, candidate: Candidate, view: str, fidelity: Fidelity
) -> int | None:
    """The finished training of a plain network, asked for by a `start` stage of the study; None when there is none."""
    rows = context.results()
    rows = rows[(rows["role"] == START_ROLE) & (rows["status"] == "finished") & (rows["split"] == _SPLITS[view])]
    rows = rows[(rows["notation"] == candidate.baseline.notation) & (rows["seed"] == PLAIN_SEEDS + number)]
    rows = rows[rows["fidelity"] == fidelity.of_data.label]
    return None if rows.empty else int(rows["training_id"].iloc[0])


def start_file(start: Start) -> Path:
    """The file of a checkpoint start.

    Raises:
        StudyError: it is not there.
    """
    path = Path(start.path)
    if not path.is_file():
        raise StudyError(f"start: there is no checkpoint {path}", "put it there, or name another in `start`")
    return path


def names_of(context: StudyParts, path: Path) -> tuple[str, str]:
    """The names of a checkpoint as a start: by its weights, and by its whole file.

    The latter was the name of all once, and is where one's own trainer reads the file.
    """
    at = path.stat()
    return _names(path, context.trains, at.st_mtime_ns, at.st_size)


@lru_cache(maxsize=64)
def _names(path: Path, of_weights: bool, changed: int, size: int) -> tuple[str, str]:
    by_file = f"{CHECKPOINT}:{sha256_of(path)[:16]}"
    return f"{CHECKPOINT}:{training.load_checkpoint(path).weights_sha256[:16]}" if of_weights else by_file, by_file


def file_of(context: StudyParts, start_id: str) -> Path:
    """The checkpoint file behind the start of a claimed training, by content.

    Raises:
        StudyError: no start of the study is a file of this content on this machine.
    """
    wanted = split_start(start_id)[0]
    for start in checkpoint_starts(context):
        path = start_file(start)
        if wanted in names_of(context, path):
            return path
    raise StudyError(
        f"{wanted}, which this training starts from, is not on this machine",
        "put the checkpoint where the study's `start` says, unchanged",
    )


def start_names(context: StudyParts) -> dict[str, str]:
    """The checkpoints that the study's stages start from: path and name.

    Raises:
        StudyError: one is not there, or two of a stage hold the same network.
    """
    found = {start.path: names_of(context, start_file(start))[0] for start in checkpoint_starts(context)}
    for stage in context.definition.named_stages():
        first: dict[str, str] = {}
        for start in context.definition.starts_of(stage.settings):
            if start.kind == CHECKPOINT and (other := first.setdefault(found[start.path], start.path)) != start.path:
                raise StudyError(f"start: {other} and {start.path} hold the same network", "name one of them")
    return found


def checkpoint_starts(context: StudyParts) -> list[Start]:
    """All checkpoints that the study's stages start from."""
    definition = context.definition
    found = [start for stage in definition.named_stages() for start in definition.starts_of(stage.settings)]
    return list(dict.fromkeys(start for start in found if start.kind == CHECKPOINT))
