"""Draws a whole generated set into Market-1501-style folders, one image at a time.

Each image has its own random stream made from the set's seed and the image's place, so images do
not depend on the order they are drawn in. The folder appears under its name only when complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data.cache import default_cache, writing
from nas.data.listing import MARKET_FOLDERS, read_folders
from nas.data.pedestrians.camera import Camera, draw_cameras, photograph
from nas.data.pedestrians.figure import JOINTS, Figure, Stance, clothed, joints
from nas.data.pedestrians.people import Appearance, draw_people, draw_person
from nas.data.pedestrians.raster import Floats, Solids, draw
from nas.data.pedestrians.scene import cast_shadow, cut_scenery, draw_scenery, draw_thing
from nas.data.pedestrians.settings import PedestrianSettings
from nas.data.records import content_id
from nas.progress import Progress, silent

SUPERSAMPLING = 2
"""Pixels drawn for each that the camera resolves, along and across."""
QUALITY = 92
BYTES_AN_IMAGE = 8_000
"""Generous estimate for the check of free space, at 128x64."""
MANIFEST = "drawn.txt"
"""File beside the folders of images: the id of their content when they were drawn."""
GAP = 6
"""White pixels between the cameras of a contact sheet."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One image to draw: split, identity (0 = distractor), camera number from 1, running number."""

    split: str
    identity: int
    camera: int
    number: int

    @property
    def name(self) -> str:
        """Market-1501's way of naming: identity, camera, sequence, frame, box."""
        return f"{self.identity:04d}_c{self.camera}s1_{self.number:06d}_00.jpg"


@dataclass(frozen=True)
class Studio:
    """Everything a set's images share: people, cameras and scenery, all from the seed."""

    settings: PedestrianSettings

    @cached_property
    def people(self) -> list[Appearance]:
        """Training persons first, then test persons; identity n is at n - 1."""
        s = self.settings
        rng = np.random.default_rng([s.seed, 1])
        return draw_people(s.train_identities, s.lookalikes, rng) + draw_people(s.test_identities, s.lookalikes, rng)

    @cached_property
    def figures(self) -> list[Figure]:
        """The persons as they are drawn."""
        return [clothed(person) for person in self.people]

    @cached_property
    def cameras(self) -> list[Camera]:
        """Camera n is at n - 1."""
        return draw_cameras(self.settings.cameras, np.random.default_rng([self.settings.seed, 2]))

    @cached_property
    def scenery(self) -> list[Floats]:
        """Each camera's background, as large as its pictures need."""
        return [draw_scenery(c.scenery, self._drawn_size(c)) for c in self.cameras]

    def _drawn_size(self, camera: Camera) -> tuple[int, int]:
        share = SUPERSAMPLING * camera.resolution
        return round(self.settings.height * share), round(self.settings.width * share)

    def shots(self) -> Iterator[Shot]:
        """Every image of the set; in the test split the first image a person and camera is the query."""
        s = self.settings
        for identity in range(1, s.persons + 1):
            training = identity <= s.train_identities
            for camera in range(1, s.cameras + 1):
                for number in range(1, s.images + 1):
                    split = "train" if training else "query" if number == 1 else "gallery"
                    yield Shot(split, identity, camera, number)
        for number in range(1, s.distractors + 1):
            yield Shot("gallery", 0, (number - 1) % s.cameras + 1, number)

    def draw(self, shot: Shot) -> Image.Image:
        """Render one image of the settings' size."""
        rng = np.random.default_rng([self.settings.seed, 3, shot.identity, shot.camera, shot.number])
        camera = self.cameras[shot.camera - 1]
        height, width = self._drawn_size(camera)
        picture = cut_scenery(self.scenery[shot.camera - 1], (height, width), rng)
        # Detectors cut neither centred nor to scale.
        scale = height * rng.uniform(0.86, 1.0)
        origin = (width * (0.5 + rng.uniform(-0.07, 0.07)), height * rng.uniform(0.92, 1.02))
        cast_shadow(picture, origin, 0.16 * scale, 0.035 * scale)
        draw(picture, Solids.joined(list(self._scene(shot, camera, rng))), scale, origin, rng.uniform(0.3, 0.6))
        return photograph(picture, camera, (self.settings.height, self.settings.width), rng)

    def _scene(self, shot: Shot, camera: Camera, rng: np.random.Generator) -> Iterator[Solids]:
        """The walker, and what is behind and in front."""
        person = self.people[shot.identity - 1] if shot.identity else draw_person(rng)
        figure = self.figures[shot.identity - 1] if shot.identity else clothed(person)
        yield _walking(person, figure, camera, shot.number, rng)
        if rng.random() < self.settings.clutter:
            yield _beside(camera, rng, -3.0, thing=0.5, reach=0.34, side=(0.12, 0.3), size=(0.6, 0.95))
        if rng.random() < self.settings.occlusion:
            yield _beside(camera, rng, 3.0, thing=0.65, reach=0.16, side=(0.14, 0.26), size=(0.95, 1.15))


def _beside(
    camera: Camera,
    rng: np.random.Generator,
    depth: float,
    *,
    thing: float,
    reach: float,
    side: tuple[float, float],
    size: tuple[float, float],
) -> Solids:
    """A thing (with that probability, up to `reach` to a side) or a passer-by, behind or before the walker."""
    sign = rng.choice([-1.0, 1.0])
    if rng.random() < thing:
        x = sign * rng.uniform(reach * 0.35, reach)
        return draw_thing(rng).placed(np.zeros((len(JOINTS), 3)), 0.0, 0.0, (x, 0.0, depth))
    person, scale = draw_person(rng), rng.uniform(*size)
    at = (sign * rng.uniform(*side), 0.1 * (1 - scale) * np.sign(-depth), depth)
    return _walking(person, clothed(person), camera, int(rng.integers(8)), rng, at, scale)


def _walking(
    person: Appearance,
    figure: Figure,
    camera: Camera,
    number: int,
    rng: np.random.Generator,
    at: tuple[float, float, float] = (0.0, 0.0, 0.0),
    size: float = 1.0,
) -> Solids:
    """Somebody who walks past a camera at some moment."""
    stance = Stance(
        phase=rng.uniform(0, 2 * np.pi),
        stride=rng.uniform(0.15, 0.5),
        yaw=camera.yaw[number % len(camera.yaw)] + rng.normal(0, camera.spread),
        pitch=camera.pitch,
        lean=rng.uniform(-0.02, 0.12),
        bend=rng.uniform(0.1, 0.7),
    )
    return figure.placed(joints(person, stance), stance.yaw, stance.pitch, at, size)


def set_folder(settings: PedestrianSettings, cache: Path | None = None) -> Path:
    """Where a generated set lies in the cache, drawn or not."""
    return (cache or default_cache()) / "generated" / settings.id


def generated_folder(settings: PedestrianSettings, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """The folder of a generated set in the cache; drawn when it is not there yet, by one worker only."""
    folder = set_folder(settings, cache)
    if not folder.is_dir():
        write_set(settings, folder, progress)
    return folder


def write_set(settings: PedestrianSettings, folder: Path, progress: Progress | None = None) -> None:
    """Draw a set into `folder`, which must not exist; nothing is left behind when that fails (`DataError`)."""
    partial = folder.with_name(folder.name + ".partial")
    total, tell = settings.images_total, progress or silent
    with writing(folder, _estimated_bytes(settings), total, tell):
        if folder.is_dir():
            return
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _write_images(settings, partial, tell)
            drawn = read_folders(partial, "generated", example="0001_c1s1_000001_00.jpg").packable
            (partial / MANIFEST).write_text(content_id(dict(enumerate(drawn)), fresh=True))
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def drawn_content(folder: Path) -> str | None:
    """The id of what was drawn into a folder, as it was written down then; None where it was not."""
    try:
        return (folder / MANIFEST).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None


def _estimated_bytes(settings: PedestrianSettings) -> int:
    return settings.images_total * max(2_000, BYTES_AN_IMAGE * settings.height * settings.width // (128 * 64))


def _write_images(settings: PedestrianSettings, folder: Path, progress: Progress) -> None:
    for name in MARKET_FOLDERS.values():
        (folder / name).mkdir(parents=True)
    studio = Studio(settings)
    for done, shot in enumerate(studio.shots(), start=1):
        studio.draw(shot).save(folder / MARKET_FOLDERS[shot.split] / shot.name, quality=QUALITY)
        if done % 16 == 0 or done == settings.images_total:
            progress(done, settings.images_total, "drawing pedestrians")


def contact_sheet(settings: PedestrianSettings, persons: int = 8, images: int = 2, columns: int = 2) -> Image.Image:
    """Draw the first persons of a set as every camera sees them, `images` a camera.

    A row is a person (look-alikes stand below each other); rows stand side by side in so many `columns`.
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
