"""The picture of rank lists: each query with what it found, framed by whether it was right.

Green is right, red is wrong, grey was removed by the protocol (same identity and camera). Only
Pillow is needed; interactive figures are `nas.reporting`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nas.retrieval.finds import RankList

Pixels = NDArray[np.uint8]
FRAMES = {"right": (38, 140, 68), "wrong": (196, 52, 46), "removed": (150, 150, 150), "query": (40, 70, 150)}
FRAME = 3
GAP = 4
CAPTION = 13


def draw_rank_lists(
    lists: Sequence[RankList],
    query_image: Callable[[int], Pixels],
    gallery_image: Callable[[int], Pixels],
    height: int = 128,
) -> Image.Image:
    """Draw rank lists below each other, in images of `height` pixels: the query, a gap, then its finds with rank and
    distance. The images at a place are uint8 (H, W, 3), e.g. `lambda i: split.images[i].permute(1, 2, 0).numpy()`.
    """
    rows = [_row(found, query_image, gallery_image, height) for found in lists]
    width = max((row.width for row in rows), default=1)
    picture = Image.new("RGB", (width, max(1, sum(row.height + GAP for row in rows))), "white")
    for number, row in enumerate(rows):
        picture.paste(row, (0, number * (row.height + GAP)))
    return picture


def _row(
    found: RankList, query_image: Callable[[int], Pixels], gallery_image: Callable[[int], Pixels], height: int
) -> Image.Image:
    tiles = [_tile(query_image(found.query), f"{found.right} right", FRAMES["query"], height)]
    tiles += [
        _tile(gallery_image(f.place), f"{f.rank or '-'}: {f.distance:.2f}", FRAMES[f.verdict], height)
        for f in found.finds
    ]
    width = sum(tile.width + GAP for tile in tiles) + 2 * GAP
    row = Image.new("RGB", (width, tiles[0].height), "white")
    x = 0
    for number, tile in enumerate(tiles):
        row.paste(tile, (x, 0))
        x += tile.width + (3 * GAP if number == 0 else GAP)
    return row


def _tile(pixels: Pixels, caption: str, colour: tuple[int, int, int], height: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image = image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (image.width + 2 * FRAME, height + 2 * FRAME + CAPTION), "white")
    tile.paste(colour, (0, CAPTION, tile.width, tile.height))
    tile.paste(image, (FRAME, FRAME + CAPTION))
    ImageDraw.Draw(tile).text((1, 0), caption, fill=(60, 60, 60), font_size=10)
    return tile
