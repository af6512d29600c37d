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

from nas.data.cache import default_cache, one_worker, writing
from nas.data.listing import MARKET_FOLDERS
from nas.data.pedestrians.appearance import Appearance, draw_people, draw_person
from nas.data.pedestrians.body import body_solids
from nas.data.pedestrians.camera import Camera, draw_cameras, photograph
from nas.data.pedestrians.pose import Stance
from nas.data.pedestrians.raster import Canvas
from nas.data.pedestrians.scene import Scenery, draw_scenery, draw_things_behind, draw_things_in_front, shifted
from nas.data.pedestrians.settings import PedestrianSettings
from nas.progress import Progress, silent

SUPERSAMPLING = 2
QUALITY = 92
BYTES_AN_IMAGE = 8_000
"""Generous estimate for the check of free space, at 128x64."""


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
    def cameras(self) -> list[Camera]:
        """Camera n is at n - 1."""
        return draw_cameras(self.settings.cameras, np.random.default_rng([self.settings.seed, 2]))

    @cached_property
    def scenery(self) -> list[Scenery]:
        """Each camera's background, as large as the supersampled pictures need."""
        return [draw_scenery(c.scenery, self._drawn_size) for c in self.cameras]

    @property
    def _drawn_size(self) -> tuple[int, int]:
        return self.settings.height * SUPERSAMPLING, self.settings.width * SUPERSAMPLING

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
        person = self.people[shot.identity - 1] if shot.identity else draw_person(rng)
        canvas = self._canvas(shot.camera - 1, rng)
        if rng.random() < self.settings.clutter:
            self._clutter(canvas, camera, rng)
        canvas.darken(np.zeros(3), across=0.16, along=0.035, share=0.35)
        for solid in body_solids(person, draw_stance(camera, shot.number, rng)):
            canvas.draw(solid)
        if rng.random() < self.settings.occlusion:
            self._occlude(canvas, camera, rng)
        return photograph(canvas.pixels, camera, (self.settings.height, self.settings.width), rng)

    def _canvas(self, camera: int, rng: np.random.Generator) -> Canvas:
        """The background, and where the walker stands in it: detectors cut neither centred nor to scale."""
        height, width = self._drawn_size
        scale = height * rng.uniform(0.86, 1.0)
        origin = (width * (0.5 + rng.uniform(-0.07, 0.07)), height * rng.uniform(0.92, 1.02))
        background = self.scenery[camera].cut((height, width), rng)
        return Canvas(background, scale, origin, shade=float(rng.uniform(0.3, 0.6)))

    def _clutter(self, canvas: Canvas, camera: Camera, rng: np.random.Generator) -> None:
        if rng.random() < 0.5:
            draw_things_behind(canvas, rng)
        else:
            self._passer_by(canvas, camera, rng, side=(0.12, 0.3), depth=-3.0, scale=(0.6, 0.95))

    def _occlude(self, canvas: Canvas, camera: Camera, rng: np.random.Generator) -> None:
        if rng.random() < 0.65:
            draw_things_in_front(canvas, rng)
        else:
            self._passer_by(canvas, camera, rng, side=(0.14, 0.26), depth=3.0, scale=(0.95, 1.15))

    def _passer_by(
        self,
        canvas: Canvas,
        camera: Camera,
        rng: np.random.Generator,
        side: tuple[float, float],
        depth: float,
        scale: tuple[float, float],
    ) -> None:
        x, size = rng.choice([-1.0, 1.0]) * rng.uniform(*side), rng.uniform(*scale)
        up = 0.1 * (1 - size) * np.sign(-depth)
        for solid in body_solids(draw_person(rng), draw_stance(camera, int(rng.integers(8)), rng)):
            canvas.draw(shifted(solid, x, up, depth, size))


def draw_stance(camera: Camera, number: int, rng: np.random.Generator) -> Stance:
    """How somebody walks past this camera at this moment."""
    yaw = camera.yaw[number % len(camera.yaw)] + rng.normal(0, camera.spread)
    return Stance(
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.15, 0.5)),
        yaw=float(yaw),
        pitch=camera.pitch,
        lean=float(rng.uniform(-0.02, 0.12)),
        bend=float(rng.uniform(0.1, 0.7)),
    )


def generated_folder(settings: PedestrianSettings, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """The folder of a generated set in the cache; drawn when it is not there yet, by one worker only.

    Raises:
        DataError: no space left, or the cache cannot be written.
    """
    folder = (cache or default_cache()) / "generated" / settings.id
    if not folder.is_dir():
        write_set(settings, folder, progress)
    return folder


def write_set(settings: PedestrianSettings, folder: Path, progress: Progress | None = None) -> None:
    """Draw a set into `folder`, which must not exist; nothing is left behind when that fails.

    Raises:
        DataError: no space left, or the folder cannot be written.
    """
    partial = folder.with_name(folder.name + ".partial")
    total, tell = settings.images_total, progress or silent
    with writing(folder.parent, _estimated_bytes(settings)), one_worker(folder, total, tell):
        if folder.is_dir():
            return
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _write_images(settings, partial, tell)
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


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
