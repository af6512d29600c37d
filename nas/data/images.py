"""Opening one image file: decode, cut to the bounding box, resize - and say what went wrong.

The only place that reads pixels from image files; packing and checks both go through it.
"""

from __future__ import annotations

import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nas.data.records import ImageRecord
from nas.errors import DataError
from nas.files.given import refuse_special

Size = tuple[int, int]
"""Height and width in pixels."""
Pixels = NDArray[np.uint8]
BACKGROUND = (0, 0, 0)
"""What shows through transparent pixels: the black that `augmentation.pad` surrounds images with."""

READ_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, EOFError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises for files that are missing, cut off, empty, spoiled or no image: its decoders do not guard."""
# Pillow warns of images of 90 megapixels and refuses those of 180: the first are read, and need no warning.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(record: ImageRecord, size: Size | None = None) -> Pixels:
    """Decode an image to uint8 RGB (height, width, 3), resized bilinearly (with antialiasing) to `size`.

    Upright as every viewer shows it (EXIF), what is transparent over black, 16-bit grey scaled by its range.

    Raises:
        DataError: the file cannot be read, its values have no known range, or its box lies outside the image.
    """
    try:
        refuse_special(record.path)
        with Image.open(record.path) as opened:
            image = as_rgb(opened)
    except READ_ERRORS as error:
        raise DataError(f"the image {record.path} cannot be read: {reason(error)}") from error
    if record.bbox is not None:
        image = crop(image, record)
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def as_rgb(image: Image.Image) -> Image.Image:
    """Any image as 8-bit RGB: upright, transparent pixels over `BACKGROUND`, 16 bits scaled by their range of 65 535.

    The range of 32-bit values nobody knows: a `ValueError` names their mode.
    """
    upright, kind = ImageOps.exif_transpose(image), image.format
    if upright.mode.startswith("I;16") or (upright.mode == "I" and kind == "PPM"):
        upright = Image.fromarray((np.asarray(upright, dtype=np.uint32) * 255 // 65_535).astype(np.uint8))
    elif upright.mode in ("I", "F"):
        raise ValueError(f"its pixels are 32-bit numbers (mode {upright.mode}) of no known range; convert it to 8 bits")
    if upright.has_transparency_data:
        seen = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", seen.size, (*BACKGROUND, 255)), seen)
    return upright.convert("RGB")


def crop(image: Image.Image, record: ImageRecord) -> Image.Image:
    """The part of the upright image inside the record's box, clipped to the image."""
    left, top, right, bottom = record.bbox or (0, 0, *image.size)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    if right <= left or bottom <= top:
        raise DataError(
            f"the box {record.bbox} of {record.path} lies outside the image ({image.width}x{image.height})",
            "Corners in pixels are expected, left top right bottom, on the upright image.",
        )
    return image.crop((left, top, right, bottom))


def reason(error: Exception) -> str:
    """A short cause, without the path that the sentence around it already names."""
    text = getattr(error, "strerror", None) or str(error)
    return "not an image file" if "cannot identify image file" in text else text
