"""Five images of a study's data set in its report: a wrong folder, colour or orientation is seen at a glance."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from nas.data import load_dataset
from nas.data.images import read_image
from nas.files.places import folders_of
from nas.reporting.study_data import StudyData

SAMPLES = 5
HEIGHT_PX, WIDTH_PX = 128, 64


def with_samples(data: StudyData) -> StudyData:
    """The study with one image of each of five persons, as far apart in the set as they are; as it was without images.

    Images that are not here (another machine's, a table's, one's own trainer's) are none.
    """
    if data.samples or data.definition.get("objective") or not data.definition.get("data"):
        return data
    try:
        whole = load_dataset(data.definition["data"], folders_of(data.definition.get("file")))
        persons = {record.identity: record for record in reversed(whole.train or whole.query)}
        chosen = sorted(persons)
        places = np.linspace(0, len(chosen) - 1, min(SAMPLES, len(chosen))).round().astype(int)
        images = np.hstack([read_image(persons[chosen[place]], (HEIGHT_PX, WIDTH_PX)) for place in places])
    except Exception:  # a reader of one's own fails in its own way: a report does without
        return data
    buffer = io.BytesIO()
    Image.fromarray(images).save(buffer, format="JPEG", quality=85)
    return replace(data, samples="data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))
