"""The contact sheet: a picture of a generated set, one person a row, one camera a group of columns."""

from __future__ import annotations

from PIL import Image

from nas.data.pedestrians.generate import Shot, Studio
from nas.data.pedestrians.settings import PedestrianSettings

GAP = 6


def contact_sheet(settings: PedestrianSettings, persons: int = 8, images: int = 2, columns: int = 2) -> Image.Image:
    """Draw the first persons of a set as every camera sees them.

    Args:
        settings: the set.
        persons: how many persons (rows; look-alikes stand below each other).
        images: images a camera.
        columns: put the rows side by side in this many columns.
    """
    studio = Studio(settings)
    persons, images = min(persons, settings.persons), min(images, settings.images)
    rows = -(-persons // columns)
    width = settings.cameras * (images * settings.width + GAP) + 2 * GAP
    sheet = Image.new("RGB", (columns * width - GAP, rows * (settings.height + 2) + 2 * GAP), "white")
    for index in range(persons):
        column, row = divmod(index, rows)
        for camera in range(settings.cameras):
            for number in range(images):
                x = GAP + column * width + camera * (images * settings.width + GAP) + number * settings.width
                image = studio.draw(Shot("train", index + 1, camera + 1, number + 1))
                sheet.paste(image, (x, GAP + row * (settings.height + 2)))
    return sheet
