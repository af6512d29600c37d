"""PK sampling: batches of P identities with K images each, planned an epoch at a time.

The semantics are those of the strong baseline (Luo et al. 2019): each identity's images are shuffled
and dealt into hands of K (an identity with fewer is drawn with replacement, leftovers wait for the
next epoch); batches take P identities at random among those with hands left, until fewer than P
are left. An epoch is a pure function of seed and number, so it can be resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.errors import DataError

Indices = NDArray[np.int64]


class PKSampler:
    """Batches of `p` identities times `k` images, as arrays of p*k places in the split.

    Iterating yields the batches of one epoch, from where `load_state_dict` left it, and then moves
    on to the next epoch: each `for batch in sampler` is one (rest of an) epoch.

    Args:
        labels: (N,) identity of each image, any integers (a tensor, an array or a list).
        cameras: (N,) camera of each image.
        p: identities a batch, at least 1.
        k: images an identity, at least 1.
        camera_aware: deal each hand over as many different cameras as possible.

    Raises:
        DataError: fewer than `p` identities, or lengths that differ.

    >>> sampler = PKSampler([0, 0, 1, 1, 2], [1, 2, 1, 2, 1], p=3, k=2, seed=0)
    >>> [len(batch) for batch in sampler]
    [6]
    """

    def __init__(
        self, labels: ArrayLike, cameras: ArrayLike, p: int, k: int, seed: int = 0, camera_aware: bool = False
    ) -> None:
        self.labels, self.cameras = np.asarray(labels, dtype=np.int64), np.asarray(cameras, dtype=np.int64)
        self.p, self.k, self.seed, self.camera_aware = p, k, seed, camera_aware
        _check(self.labels, self.cameras, p, k)
        order = np.argsort(self.labels, kind="stable")
        borders = np.flatnonzero(np.diff(self.labels[order])) + 1
        self._images: list[Indices] = np.split(order.astype(np.int64), borders)
        self.epoch = 0
        self.position = 0
        self._plan: tuple[int, Indices] | None = None

    def __len__(self) -> int:
        """Batches of the current epoch, those already drawn included."""
        return len(self.plan(self.epoch))

    def __iter__(self) -> Iterator[Indices]:
        batches = self.plan(self.epoch)
        while self.position < len(batches):
            self.position += 1
            yield batches[self.position - 1]
        self.epoch, self.position = self.epoch + 1, 0

    def plan(self, epoch: int) -> Indices:
        """All batches of an epoch, (batches, p*k); the same whenever and however often asked."""
        if self._plan is None or self._plan[0] != epoch:
            self._plan = (epoch, self._deal(np.random.default_rng([self.seed, epoch, 0x9C])))
        return self._plan[1]

    def _deal(self, rng: np.random.Generator) -> Indices:
        hands = [self._hands(images, rng) for images in self._images]
        left = np.array([len(h) for h in hands])
        batches = []
        while (available := np.flatnonzero(left)).size >= self.p:
            chosen = rng.choice(available, self.p, replace=False)
            left[chosen] -= 1
            batches.append(np.concatenate([hands[i][left[i]] for i in chosen]))
        return np.stack(batches)

    def _hands(self, images: Indices, rng: np.random.Generator) -> Indices:
        """The images of one identity, dealt into (hands, k)."""
        if len(images) < self.k:
            return rng.choice(images, (1, self.k))
        shuffled = rng.permutation(images)
        count = len(shuffled) // self.k
        if not self.camera_aware:
            return shuffled[: count * self.k].reshape(count, self.k)
        # Sorted by camera and dealt round like cards, neighbours (same camera) land in different hands.
        by_camera = shuffled[np.argsort(self.cameras[shuffled], kind="stable")]
        start = int(rng.integers(len(by_camera)))
        return np.roll(by_camera, start)[: count * self.k].reshape(self.k, count).T

    def state_dict(self) -> dict[str, int]:
        """Where the sampler is: seed, epoch, batches already drawn in it."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on exactly where `state_dict` was taken; raises `DataError` when the seed is another one."""
        if state["seed"] != self.seed:
            raise DataError(f"the sampler's seed is {self.seed}, the saved state's {state['seed']}")
        self.epoch, self.position = int(state["epoch"]), int(state["position"])


def _check(labels: Indices, cameras: Sequence[int] | Indices, p: int, k: int) -> None:
    if min(p, k) < 1:
        raise DataError(f"a batch needs at least one identity and one image, not p={p}, k={k}")
    if labels.ndim != 1 or len(labels) != len(cameras):
        raise DataError(f"{labels.shape} labels do not go with {len(cameras)} cameras")
    identities = len(np.unique(labels))
    if identities < p:
        raise DataError(
            f"a batch needs {p} identities, but the training split has {identities}",
            f"Lower the recipe's number of identities a batch to {identities} or less.",
        )
