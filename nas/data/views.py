"""Which images a study trains on, selects on and reports on.

`select` holds identities out of the training split and never reads the test split; `final` trains
on every training identity and evaluates on the test split.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

import numpy as np

from nas.data.records import ImageRecord, Records, ReidDataset
from nas.errors import DataError, unknown_name
from nas.files.hashes import hash_of_data

View = Literal["select", "final"]
VIEWS: tuple[View, ...] = ("select", "final")


def dataset_view(
    dataset: ReidDataset,
    view: str = "select",
    *,
    val_share: float = 0.25,
    val_identities: int | None = None,
    seed: int = 0,
) -> ReidDataset:
    """The images for choosing candidates (`select`) or for the final numbers (`final`).

    For `select`, `val_share` of the training identities (or exactly `val_identities`) leave the
    training split and become query and gallery: all their images are gallery, one image a camera
    is a query. A query's own image is removed from its ranking by the same-camera rule, so nothing
    finds itself. The test split is not in the result.

    Args:
        view: `select` or `final`.
        val_share: share of the training identities to hold out, above 0 and below 1.
        val_identities: their number, instead of the share.
        seed: which identities are held out; the same seed holds out the same ones.

    Raises:
        DataError: unknown view, nothing to hold out, or no held-out identity seen by two cameras.
    """
    if view not in VIEWS:
        raise DataError(unknown_name("view", view, VIEWS))
    if view == "final":
        return dataset.derived(spec={**dataset.spec, "view": "final"})
    return _selection_view(dataset, _held_out_count(dataset, val_share, val_identities), seed)


def _held_out_count(dataset: ReidDataset, share: float, number: int | None) -> int:
    total = len({r.identity for r in dataset.train})
    count = round(total * share) if number is None else number
    if not 0 < count < total:
        raise DataError(
            f"cannot hold {count} of the {total} training identities of {dataset.name} out for selection",
            "Give a val_share between 0 and 1, or fewer val_identities than there are identities.",
        )
    return count


def _selection_view(dataset: ReidDataset, count: int, seed: int) -> ReidDataset:
    rng = np.random.default_rng([seed, 0x5E1EC7])
    chosen = _choose_identities(dataset.train, count, rng)
    held = tuple(r for r in dataset.train if r.identity in chosen)
    query = _one_a_camera(held, rng)
    if not query:
        raise DataError(
            f"none of the {count} held-out identities of {dataset.name} was seen by two cameras",
            "Hold out more identities, or select on a set whose identities were seen by several cameras.",
        )
    spec = {**dataset.spec, "view": "select", "val_identities": count, "val_seed": seed}
    fixed = None if dataset.fixed_id is None else f"{dataset.fixed_id}-select-{count}-{seed}"
    train = tuple(r for r in dataset.train if r.identity not in chosen)
    return dataset.derived(train=train, query=query, gallery=held, spec=spec, junk={}, fixed_id=fixed)


def _choose_identities(train: Records, count: int, rng: np.random.Generator) -> set[int]:
    """Identities drawn without replacement, those seen by two cameras first: only they can be searched for."""
    cameras: dict[int, set[int]] = defaultdict(set)
    for record in train:
        cameras[record.identity].add(record.camera)
    order = rng.permutation(sorted(cameras)).tolist()
    order.sort(key=lambda identity: len(cameras[identity]) < 2)
    return set(order[:count])


def _one_a_camera(held: Records, rng: np.random.Generator) -> Records:
    """One random image of each identity and camera, for identities seen by two cameras at least."""
    seen: dict[int, dict[int, list[ImageRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in held:
        seen[record.identity][record.camera].append(record)
    return tuple(
        images[int(rng.integers(len(images)))]
        for _, cameras in sorted(seen.items())
        if len(cameras) > 1
        for _, images in sorted(cameras.items())
    )


def prepared_id(dataset: ReidDataset, size: tuple[int, int], identities_share: float = 1.0, seed: int = 0) -> str:
    """`PreparedData.dataset_id` of a set or view, without packing it; arguments as for `prepare`."""
    return hash_of_data([dataset.id, list(size), identities_share, seed if identities_share < 1 else 0])


def identity_share(records: Records, share: float, seed: int) -> Records:
    """Images of a share (above 0, at most 1) of the identities; a smaller one is part of a larger one (same seed)."""
    if not 0 < share <= 1:
        raise DataError(f"the share of identities must be above 0 and at most 1, not {share}")
    if share == 1:
        return records
    identities = np.random.default_rng([seed, 0x5BA2E]).permutation(sorted({r.identity for r in records}))
    kept = set(identities[: max(1, round(share * len(identities)))].tolist())
    return tuple(r for r in records if r.identity in kept)
