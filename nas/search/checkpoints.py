"""Where the checkpoints of a study's trainings are, and which of them stay.

Files are named by what was trained, so stages and studies that share a training share its file. A
checkpoint that cannot be read is put aside, and the training starts again.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nas import training
from nas.errors import NasError, StorageError

if TYPE_CHECKING:
    from nas.storage import ClaimedTraining
    from nas.storage.checkpoint_store import CheckpointStore

log = logging.getLogger("nas.worker")

SHARE_S = 300.0  # least time between two copies of an unfinished checkpoint in the shared store


class CheckpointFiles:
    """Local files of running trainings, and the store that keeps what outlives them.

    Args:
        store: where finished (and interrupted) checkpoints are kept, shared between machines or not.
        work: a local folder for trainings that are running here.
        shared: whether other machines see the store; then unfinished checkpoints are copied there now and then, so
            that a training outlives the machine it runs on.
    """

    def __init__(self, store: CheckpointStore, work: Path, *, shared: bool = False) -> None:
        self._store = store
        self._work = work
        self._shared = shared
        self._copied_at = time.monotonic()
        self._copied: tuple[str, int] | None = None

    def begin(self, claim: ClaimedTraining) -> Path:
        """The local file a training writes to; holds what an earlier attempt or rung left, if readable."""
        path = self.path(claim)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._copied_at = time.monotonic()
        sources = ((claim.checkpoint_uri, claim.checkpoint_sha256), (claim.resume_from_uri, claim.resume_from_sha256))
        for uri, sha256 in sources:
            if path.exists() and not _readable(path):
                _put_aside(path)
            if not path.exists() and uri is not None:
                self._fetch(uri, sha256, path)
        if path.exists() and not _readable(path):
            _put_aside(path)
        if path.exists():
            log.info("%s seed %s goes on from a checkpoint", claim.notation, claim.seed)
        return path

    def fetch_initial(self, claim: ClaimedTraining) -> Path | None:
        """The file that another training left and this one starts from, or None.

        Raises:
            StorageError: it was not kept, is missing or damaged.
        """
        if claim.init_from is None:
            return None
        uri, sha256 = claim.init_from_uri, claim.init_from_sha256
        if uri is None or sha256 is None:
            raise StorageError(
                f"the weights that {claim.notation} starts from were not kept", "train their network again: nas status"
            )
        # Named by content: trainings of several databases share the folder.
        path = self._work / "initial" / f"{sha256}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._store.fetch(uri, path, sha256)
        return path

    def interrupted(self, claim: ClaimedTraining) -> tuple[str, str] | None:
        """Puts an unfinished checkpoint where the next worker finds it; None when there is none."""
        path = self.path(claim)
        return self._store.put(path, key(claim)) if path.exists() else None

    def share(self, claim: ClaimedTraining) -> tuple[str, str] | None:
        """Copies a running training's checkpoint to the shared store when it is time; its address and hash, or None.

        A store that cannot be reached costs a line in the log, not the training.
        """
        if not self._shared or time.monotonic() - self._copied_at < SHARE_S:
            return None
        path = self.path(claim)
        try:
            version = (path.name, path.stat().st_mtime_ns)
        except FileNotFoundError:
            return None
        if version == self._copied:
            return None
        self._copied_at, self._copied = time.monotonic(), version
        try:
            return self._store.put(path, key(claim))
        except Exception as error:  # every kind of store has errors of its own
            log.warning("the checkpoint of %s was not copied to the store: %s", claim.notation, error)
            return None

    def finish(self, claim: ClaimedTraining, path: Path | None) -> tuple[str | None, str | None]:
        """Hands a finished checkpoint to the store; returns its address and hash."""
        if path is None:
            self.path(claim).unlink(missing_ok=True)
            return None, None
        stored = self._store.put(path, key(claim))
        path.unlink(missing_ok=True)
        return stored

    def keep(self, claim: ClaimedTraining, path: Path) -> tuple[str, str]:
        """Copies a checkpoint that is somebody else's to the store; returns its address and hash."""
        return self._store.put(path, key(claim))

    def path(self, claim: ClaimedTraining) -> Path:
        """The local file of a training."""
        return self._work / f"{key(claim)}"

    def _fetch(self, uri: str, sha256: str | None, path: Path) -> None:
        with contextlib.suppress(NasError):  # a lost checkpoint costs time, not the training
            self._store.fetch(uri, path, sha256)


def key(claim: ClaimedTraining) -> str:
    """Name of a training's checkpoint: equal for equal trainings, whatever study asked."""
    parts = (claim.candidate_id, claim.recipe_id, claim.dataset_id, claim.fidelity_label, f"s{claim.seed}")
    # A training from scratch without own code keeps the short name that earlier versions gave it.
    more = (claim.code[:16], "" if claim.start == "scratch" else claim.start.replace(":", "-"))
    return "-".join((*parts, *filter(None, more))) + ".pt"


def _readable(path: Path) -> bool:
    try:
        training.load_checkpoint(path)
    except (NasError, OSError):
        return False
    return True


def _put_aside(path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.move(path, path.with_suffix(".unreadable"))
