"""Files that people name, looked at before they are read: regular ones of bounded size, never a pipe or a device."""

from __future__ import annotations

import codecs
import errno
import io
import os
import stat
import zipfile
from pathlib import Path

LONGEST_TABLE = 512 << 20
"""Bytes of a table: five million rows of a hundred characters, and several times that in memory."""


def refuse_special(path: Path) -> None:
    """`OSError` for a pipe, a socket or a device: to read one waits for ever, or never comes to an end."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_bounded(path: Path, longest: int = LONGEST_TABLE) -> bytes:
    """All bytes of a regular file.

    Raises:
        OSError: it cannot be read, is a pipe or a device, or is larger than that.
    """
    refuse_special(path)
    with path.open("rb") as file:
        content = file.read(longest + 1)
    if len(content) > longest:
        raise OSError(errno.EFBIG, f"it is larger than {longest >> 20} MiB", str(path))
    return content


def read_table_text(path: Path) -> str:
    """A table as people's programs write it: UTF-8 with a BOM or without, UTF-16, any line ends, `sep=;` above it.

    Raises:
        OSError: as for `read_bounded`.
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16.
    """
    content = read_bounded(path)
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = io.StringIO(content.decode("utf-16" if wide else "utf-8-sig"), newline=None).read()
    return text.partition("\n")[2] if text[:4].lower() == "sep=" else text


def zip_fault(path: Path) -> str | None:
    """Why an archive of tensors is not read, or None: torch compares no checksums, and packs nothing.

    Packed members may be of any size once they are read; torch writes none.
    """
    with zipfile.ZipFile(path) as archive:
        packed = next((m.filename for m in archive.infolist() if m.compress_type != zipfile.ZIP_STORED), None)
        if packed is not None:
            return f"{packed} in it is compressed, which torch never writes, and may be of any size"
        spoiled = archive.testzip()
    return None if spoiled is None else f"it is damaged: the checksum of {spoiled} is wrong"
