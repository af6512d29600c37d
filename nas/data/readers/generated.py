"""The generated pedestrian set, drawn into the cache at first use (see `nas.data.pedestrians`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from nas.data.listing import read_folders
from nas.data.pedestrians.generate import drawn_content, generated_folder
from nas.data.pedestrians.settings import PedestrianSettings
from nas.data.records import ReidDataset
from nas.errors import DataError, unknown_name
from nas.files.needed import needed
from nas.progress import Progress


def read_generated(
    options: Mapping[str, object], cache: Path | None = None, progress: Progress | None = None
) -> ReidDataset:
    """Draw (once) and read the set with these settings; `DataError` names a key that is wrong."""
    settings = parse_settings(options)
    folder = generated_folder(settings, cache, progress)
    found = read_folders(folder, "generated", example="0001_c1s1_000001_00.jpg")
    dataset = replace(found, fixed_id=f"generated-{settings.id}", drawn=drawn_content(folder), cache=cache)
    if dataset.drawn is None or dataset.id != dataset.fixed_id:
        raise DataError(
            f"the images in {folder} are not the ones that were drawn there",
            "Delete that folder; they are drawn again.",
        )
    return dataset


def parse_settings(options: Mapping[str, object]) -> PedestrianSettings:
    """Settings from a study file's mapping."""
    for key in options:
        if key not in PedestrianSettings.model_fields:
            raise DataError(unknown_name("key of generated data", str(key), PedestrianSettings.model_fields))
    try:
        return PedestrianSettings.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"generated data: {place} is {first['input']!r}: {needed(first)}") from error
