"""Five images of a study's data set in its report: a wrong folder, colour or orientation is seen at a glance."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from nas.data import ReidDataset, dataset_view, load_dataset
from nas.data.images import read_image
from nas.data.load import GENERATED
from nas.data.pedestrians.generate import set_folder
from nas.data.readers.generated import parse_settings
from nas.files.places import folders_of
from nas.reporting.study_data import StudyData

SAMPLES = 5
HEIGHT_PX, WIDTH_PX = 128, 64
LEFT_OUT = "Images of the data are left out of this report (`report: {images: false}`, or `--no-images`)."
NOT_HERE = "The images are not on the machine that wrote this report, so none are shown."
OTHERS = "The images on the machine that wrote this report are others than the study's, so none are shown."


def shows_images(data: StudyData) -> bool:
    """Whether reports of the study may show images of its data (`report: {images: false}` forbids it)."""
    return (data.definition.get("report") or {}).get("images") is not False


def with_samples(data: StudyData, images: bool = True) -> StudyData:
    """The study with one image of each of five persons, as far apart in the set as they are; or with why there is none.

    Images are shown that are here and are the study's, by content: nothing is drawn or fetched for a report. A study
    that trains nothing on images stays as it is, and without `images` they are left out.
    """
    if data.samples or data.definition.get("objective") or not data.definition.get("data"):
        return data
    if not images or not shows_images(data):
        return replace(data, no_samples=LEFT_OUT)
    try:
        if not all(set_folder(parse_settings(options)).is_dir() for options in _generated(data.definition["data"])):
            return replace(data, no_samples=NOT_HERE)
        whole = load_dataset(data.definition["data"], folders_of(data.definition.get("file")))
        if not _is_the_studys(whole, data):
            return replace(data, no_samples=OTHERS)
        strip = _strip(whole)
    except Exception:  # a reader of one's own fails in its own way: a report does without
        return replace(data, no_samples=NOT_HERE)
    return replace(data, samples=data_address(strip, "jpeg", quality=85))


def data_address(picture: Image.Image, format: str, **settings: Any) -> str:
    """A picture as a data address, which a page holds in itself."""
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **settings)
    return f"data:image/{format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _generated(spec: Any) -> Iterator[Mapping[str, Any]]:
    """Settings of the generated sets in a `data:` key, however they are joined or crossed."""
    if isinstance(spec, Mapping):
        for key, value in spec.items():
            if key == GENERATED:
                yield value or {}
            else:
                yield from _generated(value)
    elif isinstance(spec, (list, tuple)):
        for part in spec:
            yield from _generated(part)


def _is_the_studys(whole: ReidDataset, data: StudyData) -> bool:
    """Whether a view of what is here is one that the study was trained on; true before anything was."""
    known = {row["id"]: row["view"] for row in data.dataset.get("views") or ()}
    if not known:
        return True
    held_out = data.definition.get("validation") or {}
    views = ["select"] * ("val" in known.values()) + ["final"] * ("test" in known.values())
    share, seed = held_out.get("share", 0.25), held_out.get("seed", 0)
    return any(dataset_view(whole, view, val_share=share, seed=seed).id in known for view in views)


def _strip(whole: ReidDataset) -> Image.Image:
    persons = {record.identity: record for record in reversed(whole.train or whole.query)}
    chosen = sorted(persons)
    places = np.linspace(0, len(chosen) - 1, min(SAMPLES, len(chosen))).round().astype(int)
    return Image.fromarray(np.hstack([read_image(persons[chosen[i]], (HEIGHT_PX, WIDTH_PX)) for i in places]))
