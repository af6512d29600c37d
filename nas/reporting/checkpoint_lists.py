"""Rank lists of a study's best candidate, made from its checkpoint: what queries find, from the worst to the best.

The only part of reporting that loads a network; it is asked for (`nas report STUDY --rank-lists 6`), never a
matter of course.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nas.data import PackedSplit, PreparedData, ReidDataset, dataset_view, load_dataset, prepare
from nas.errors import StudyError
from nas.files.places import folders_of
from nas.progress import Progress
from nas.reporting.samples import data_address, shows_images
from nas.reporting.study_data import StudyData
from nas.retrieval import evaluate
from nas.retrieval.finds import rank_lists
from nas.storage import Database, Repository
from nas.storage.checkpoint_store import CheckpointStore
from nas.training import FeatureExtractor, maps_of

THUMBNAIL_PX = 128


def make_rank_lists(
    database: Database,
    data: StudyData,
    *,
    notation: str | None = None,
    queries: int | Sequence[int] = 6,
    split: str | None = None,
    ranks: int = 10,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Rank lists as `StudyData.rank_lists` holds them: notation -> rows (split, query, rank, identity, camera, ...).

    Args:
        notation: whose lists; the recommended candidate's by default.
        queries: how many, evenly spaced from the worst average precision to the best; or which, by their places.
        split: on which the candidate was judged, as in results; the test split where it was, by default.

    Raises:
        StudyError: there is no such candidate, or none of its trainings (on that split) kept a checkpoint.
        DataError: the images are not where the study file says.
    """
    wanted = notation or _recommended(data)
    training = _training_with_checkpoint(database, data, wanted, split)
    with tempfile.TemporaryDirectory() as folder:
        extractor = _extractor(training, Path(folder), device)
        prepared = _images(data, str(training["split"]), extractor.size, progress)
        features = [
            extractor([pixels_of(split, place) for place in range(len(split))], progress)
            for split in (prepared.query, prepared.gallery)
        ]
    rows = _rows(prepared, features[0], features[1], queries, ranks)
    return {wanted: [{"split": str(training["split"]), **row} for row in rows]}


def make_maps(
    database: Database,
    data: StudyData,
    *,
    notation: str | None = None,
    images: int = 4,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, str]:
    """Where a network looks, as `StudyData.maps` holds it: Grad-CAM and its blocks' own maps on evenly spaced queries.

    Args and errors: as `make_rank_lists`; `images` queries are drawn.
    """
    wanted = notation or _recommended(data)
    training = _training_with_checkpoint(database, data, wanted)
    with tempfile.TemporaryDirectory() as folder:
        extractor = _extractor(training, Path(folder), device)
        query = _images(data, str(training["split"]), extractor.size, progress).query
        places = np.linspace(0, len(query) - 1, min(images, len(query))).round().astype(int)
        picture = maps_of(extractor, [pixels_of(query, int(place)) for place in places])
    return {wanted: data_address(picture, "png")}


def _recommended(data: StudyData) -> str:
    """The network that the answer names, else the most accurate one to quote."""
    if data.answer.kind == "better" and data.answer.named:
        return data.answer.named
    rows = data.candidates(data.quoted)
    if rows.empty:
        raise StudyError("no training has finished yet, so there are no rank lists")
    return str(rows[rows["quoted"].astype(bool)].sort_values("map_mean")["notation"].iloc[-1])


def _training_with_checkpoint(
    database: Database, data: StudyData, notation: str, split: str | None = None
) -> dict[str, Any]:
    """The longest-trained finished training of the candidate whose checkpoint was kept; the test split goes first."""
    rows = data.finished[data.finished["notation"] == notation].sort_values(["split", "epochs"])
    rows = rows if split is None else rows[rows["split"] == split]
    repository = Repository(database)
    for training_id in reversed([int(number) for number in rows["training_id"]]):
        found = repository.training(training_id)
        if found and found.get("checkpoint_uri"):
            return dict(found)
    where = "" if split is None else f", judged on the split {split!r},"
    raise StudyError(
        f"no checkpoint of {notation}{where} was kept, so there are no rank lists",
        "studies with keep_checkpoints: last or best keep them; or name another candidate",
    )


def _extractor(training: Mapping[str, Any], folder: Path, device: str) -> FeatureExtractor:
    store = CheckpointStore(folder)
    path = store.fetch(str(training["checkpoint_uri"]), folder / "checkpoint.pt", training.get("checkpoint_sha256"))
    return FeatureExtractor(path, device)


def _images(data: StudyData, split: str, size: tuple[int, int], progress: Progress | None) -> PreparedData:
    if not shows_images(data):
        raise StudyError(
            f"the study {data.name!r} keeps images out of its reports (`report: {{images: false}}`)",
            "take the key out of its file and run it again, or leave rank lists and maps out",
        )
    return prepare(_view(data, split, progress), size, progress=progress)


def _view(data: StudyData, split: str, progress: Progress | None) -> ReidDataset:
    """The view of the data that the training was evaluated on."""
    definition = data.definition
    spec = definition.get("test_data") or definition["data"]
    whole = load_dataset(spec, folders_of(definition.get("file")), progress=progress)
    held_out = definition.get("validation") or {}
    view = "final" if split == "test" else "select"
    return dataset_view(whole, view, val_share=held_out.get("share", 0.25), seed=held_out.get("seed", 0))


def pixels_of(split: PackedSplit, place: int) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) of one image."""
    return np.asarray(split.gather(np.array([place]))[0].permute(1, 2, 0).cpu().numpy())


def _rows(
    prepared: PreparedData,
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    queries: int | Sequence[int],
    ranks: int,
) -> list[dict[str, Any]]:
    persons = (prepared.query.identities, prepared.query.cameras)
    others = (prepared.gallery.identities, prepared.gallery.cameras)
    found = evaluate(query, *persons, gallery, *others, per_query=True)
    chosen = _spread(found.per_query, queries) if isinstance(queries, int) else list(queries)
    lists = rank_lists(query, *persons, gallery, *others, chosen, top=ranks)
    rows = []
    for entry in lists:
        rows.append(_row(prepared.query, entry.query, entry.query, 0, True, 0.0))
        rows += [
            _row(prepared.gallery, find.place, entry.query, find.rank, find.verdict == "right", find.distance)
            for find in entry.finds
            if find.verdict != "removed"
        ]
    return rows


def _spread(per_query: Any, count: int) -> list[int]:
    """Queries evenly spaced by average precision, the worst first."""
    order = [int(place) for place in per_query.worst(len(per_query.ap))]
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [order[place] for place in dict.fromkeys(places.tolist())]


def _row(split: PackedSplit, place: int, query: int, rank: int, correct: bool, distance: float) -> dict[str, Any]:
    return {
        "query": query,
        "rank": rank,
        "identity": int(split.identities[place]),
        "camera": int(split.cameras[place]),
        "correct": correct,
        "distance": distance,
        "image": thumbnail(pixels_of(split, place)),
    }


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """An image as a small JPEG in a data address."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return data_address(picture, "jpeg", quality=80)
