"""Opening one image file: decode, cut to the bounding box, resize - and say what went wrong.

The only place that reads pixels from image files; packing and checks both go through it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nas.data.listing import refuse_special
from nas.data.records import ImageRecord
from nas.errors import DataError

Size = tuple[int, int]
"""Height and width in pixels."""
Pixels = NDArray[np.uint8]

READ_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for files that are missing, cut off, empty or no image."""


def read_image(record: ImageRecord, size: Size | None = None) -> Pixels:
    """Decode an image to uint8 RGB (height, width, 3), resized bilinearly (with antialiasing) to `size`.

    Raises:
        DataError: the file cannot be read, or its bounding box lies outside the image.
    """
    try:
        refuse_special(record.path)
        with Image.open(record.path) as opened:
            image = opened.convert("RGB")
    except READ_ERRORS as error:
        raise DataError(f"the image {record.path} cannot be read: {reason(error)}") from error
    if record.bbox is not None:
        image = crop(image, record)
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def crop(image: Image.Image, record: ImageRecord) -> Image.Image:
    """The part of the image inside the record's box, clipped to the image."""
    left, top, right, bottom = record.bbox or (0, 0, *image.size)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    if right <= left or bottom <= top:
        raise DataError(f"the box {record.bbox} of {record.path} lies outside the image ({image.width}x{image.height})")
    return image.crop((left, top, right, bottom))


def reason(error: Exception) -> str:
    """A short cause, without the path that the sentence around it already names."""
    text = getattr(error, "strerror", None) or str(error)
    return "not an image file" if "cannot identify image file" in text else text


def probe_image(record: ImageRecord) -> str | None:
    """None when an image decodes completely and its box lies inside, else why not."""
    try:
        read_image(record)
    except DataError as error:
        return error.message.split("cannot be read: ", 1)[-1]
    return None
