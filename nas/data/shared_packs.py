"""Packs in a place that several machines see: one of them packs, the others copy.

`$NAS_PACKS` names it, a folder or any fsspec address. A pack's own hash is copied last and read first, so that a pack
that is still on its way is not taken; what is wrong with the place costs a line in the log and the packing here.
"""

from __future__ import annotations

import logging
import os
import posixpath
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from nas.files.places import BUCKETS

log = logging.getLogger("nas.data")


def fetch_pack(pack: Path, hash_file: Path) -> None:
    """Copies a pack and its hash from the shared place, where they are there."""
    found = _place()
    if found is None:
        return
    fs, folder = found
    partial = pack.with_suffix(".partial")
    try:
        told = fs.cat_file(posixpath.join(folder, hash_file.name))
        fs.get_file(posixpath.join(folder, pack.name), str(partial))
        hash_file.write_bytes(told)
        partial.replace(pack)
    except FileNotFoundError:
        return
    except Exception as error:  # each file system has errors of its own
        log.warning("packs cannot be read from NAS_PACKS, images are packed here: %s", error)
    finally:
        partial.unlink(missing_ok=True)


def share_pack(pack: Path, hash_file: Path) -> None:
    """Copies a new pack to the shared place."""
    found = _place()
    if found is None:
        return
    fs, folder = found
    try:
        if os.environ["NAS_PACKS"].split("://")[0] not in BUCKETS:
            fs.makedirs(folder, exist_ok=True)
        for file in (pack, hash_file):
            fs.put_file(str(file), posixpath.join(folder, file.name))
    except Exception as error:
        log.warning("a pack was not copied to NAS_PACKS: %s", error)


def _place() -> tuple[Any, str] | None:
    address = os.environ.get("NAS_PACKS")
    if not address:
        return None
    try:
        fs, folder = url_to_fs(address)
    except (ImportError, ValueError) as error:
        log.warning("NAS_PACKS cannot be used: %s", error)
        return None
    fs.invalidate_cache()  # of listings: other machines write too
    return fs, str(folder)
