"""Sets, tables, weights, addresses and arguments made at random, each with what it means by an independent reading.

`nas` may refuse what is malformed. What it takes must be what the file says: a case that is accepted is evaluated
against its meaning, and one that means something else is a silent change.
"""

from __future__ import annotations

import copy
import csv
import io
import itertools
import math
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from fuzz import texts, yaml_mutations
from numpy.typing import NDArray
from PIL import Image

import nas
from nas.data import load_dataset
from nas.data.images import read_image
from nas.errors import NasError
from nas.latency import LatencyProtocol
from nas.networks.weights import load_weights
from nas.retrieval import evaluate
from nas.search.definition import study_from
from nas.search.replay import ReplayTable
from nas.search.settings import ObjectiveSettings
from nas.spaces import Candidate, DesignSpace, RuleSet
from nas.storage.urls import parse_url
from nas.training import load_recipe

Pixels = NDArray[np.uint8]
LOSSY = 12
"""Grey values by which a JPEG of one colour may differ."""


@dataclass(frozen=True)
class Judged:
    """How one case was taken.

    Attributes:
        accepted: whether it was taken (else refused with a sentence).
        wrong: what is wrong with that; None for nothing.
        silent: whether it was taken for something else than it means.
    """

    accepted: bool
    wrong: str | None = None
    silent: bool = False


def judged(take: Callable[[], str | None], *, good: bool, bad: str | None) -> Judged:
    """Runs one case.

    Args:
        take: gives it to `nas`; returns how what was taken differs from what is meant, None for not at all.
        good: it must be taken.
        bad: why it must be refused.
    """
    try:
        differs = take()
    except NasError as error:
        if not error.message.strip() or "\n" in error.message or len(error.message) > 1_500:
            return Judged(False, f"no sentence: {error.message[:300]!r}")
        return Judged(False, f"refused although nothing is wrong: {error.message}" if good else None)
    if bad is not None:
        return Judged(True, f"taken although {bad}", silent=True)
    return Judged(True, differs, silent=differs is not None)


# -- labelled sets: labels, boxes, pictures of every mode and depth

TEXTS: dict[str, Sequence[str]] = {
    "numbers": [str(n) for n in range(1, 30)],
    "padded": [f"{n:04d}" for n in range(1, 30)],
    "decimal": [f"{n}.0" for n in range(1, 30)],
    "names": [
        "ann",
        "bob",
        "e\u0301",
        "\u00e9",
        "1_11",
        "11_1",
        "a,b",
        "Ann",
        "1e3",
        "0x1",
        "1,5",
        "\u00bd",
        "x y",
        "p 1",
    ],
    "long": [str(10**14 + n) for n in range(30)],
}
EMPTY = ("nan", "na", "n/a", "#n/a", "null", "none", "<na>")
JUNK_TEXTS, NOBODY_TEXTS = ("-1", "-1.0", "junk", "Junk"), ("0", "0.0", "distractor", "000")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.0*)?\Z")


def number_of(label: str) -> float | None:
    """What most programs would take a label for."""
    digits = label.lstrip("+-").split(".")[0].lstrip("0")
    return float(label) if _NUMBER.match(label) and len(digits) <= 15 else None


def reserved(label: str) -> str | None:
    """`junk`, `nobody`, or None for a person."""
    by_word = {"junk": "junk", "distractor": "nobody"}.get(label.lower())
    return by_word or {-1.0: "junk", 0.0: "nobody"}.get(number_of(label))  # type: ignore[arg-type]


def clash(labels: Sequence[str]) -> str | None:
    """Why labels cannot be told apart, or None."""
    seen: dict[float, str] = {}
    if len({unicodedata.normalize("NFC", label) for label in labels}) < len(set(labels)):
        return "accents are written in two ways"
    for label in sorted(set(labels)):
        number = number_of(label)
        if number is None:
            continue
        if number < 0:
            return f"{label!r} is negative"
        if number in seen:
            return f"{seen[number]!r} and {label!r} are one number"
        seen[number] = label
    return next((f"{label!r} is an empty cell" for label in labels if label.lower() in EMPTY), None)


def one_colour(rng: random.Random) -> Pixels:
    return np.full((8, 4, 3), [rng.randrange(256) for _ in range(3)], np.uint8)


def noise(rng: random.Random) -> Pixels:
    return np.frombuffer(rng.randbytes(8 * 4 * 3), np.uint8).reshape(8, 4, 3).copy()


def grey(rng: random.Random) -> Pixels:
    return np.repeat(np.frombuffer(rng.randbytes(32), np.uint8).reshape(8, 4, 1), 3, axis=2)


def _plain(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    base = noise(rng)
    Image.fromarray(base).save(path, format=rng.choice(("PNG", "BMP", "TIFF", "PPM")))
    return base, 0


def _jpeg(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    base = one_colour(rng)
    Image.fromarray(base).save(path, format="JPEG", quality=95, subsampling=0)
    return base, LOSSY


def _cmyk(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    base = noise(rng)
    Image.fromarray(base).convert("CMYK").save(path, format="TIFF")
    return base, 1


def _grey8(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    base = grey(rng)
    Image.fromarray(base[..., 0]).save(path, format="PNG")
    return base, 0


def _grey16(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    deep = np.frombuffer(rng.randbytes(64), np.uint16).reshape(8, 4)
    Image.fromarray(deep).save(path, format=rng.choice(("PNG", "TIFF")))
    return np.repeat((deep[..., None] / 257.0).astype(np.uint8), 3, axis=2), 1


def _one_bit(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    base = np.where(grey(rng) > 127, 255, 0).astype(np.uint8)
    Image.fromarray(base[..., 0]).convert("1", dither=Image.Dither.NONE).save(path, format="PNG")
    return base, 0


def _palette(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    colours = np.frombuffer(rng.randbytes(12), np.uint8).reshape(4, 3)
    index = np.frombuffer(rng.randbytes(32), np.uint8).reshape(8, 4) % 4
    image = Image.fromarray(index.astype(np.uint8), "P")
    image.putpalette(colours.tobytes())
    image.save(path, format=rng.choice(("PNG", "GIF")))
    return colours[index], 0


def _alpha(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    """Hidden colours under transparency are not what is seen: the picture over black."""
    base = noise(rng) if rng.random() < 0.5 else grey(rng)
    alpha = np.frombuffer(rng.randbytes(32), np.uint8).reshape(8, 4, 1) // rng.choice((1, 255))
    alpha = np.where(alpha == 1, 255, alpha).astype(np.uint8)
    Image.fromarray(np.concatenate([base, alpha], axis=2)).save(path, format="PNG")
    return (base * (alpha / 255.0)).round().astype(np.uint8), 1


def _turned(path: Path, rng: random.Random) -> tuple[Pixels, int]:
    """Stored turned or mirrored, with an EXIF tag that says how: upright as every viewer shows it."""
    base, tag = noise(rng), rng.randrange(1, 9)
    stored = {
        1: base, 2: base[:, ::-1], 3: base[::-1, ::-1], 4: base[::-1], 5: base.transpose(1, 0, 2),
        6: np.rot90(base), 7: base[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(base, -1),
    }[tag]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(np.ascontiguousarray(stored)).save(path, format="PNG", exif=exif)
    return base, 0


def _deep(path: Path, rng: random.Random) -> tuple[Pixels, int] | str:
    kind = rng.choice((np.int32, np.float32))
    Image.fromarray(np.arange(32, dtype=kind).reshape(8, 4)).save(path, format="TIFF")
    return "a picture of 32-bit numbers has no known range"


def _cut(path: Path, rng: random.Random) -> tuple[Pixels, int] | str:
    Image.fromarray(noise(rng)).save(path, format="PNG")
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data) // 2)])
    return "half of a picture is missing"


def _not_one(path: Path, rng: random.Random) -> tuple[Pixels, int] | str:
    path.write_bytes(rng.choice((b"", b"GIF89a", b"<html>404</html>", rng.randbytes(300))))
    return "a picture is none"


PICTURES = (_plain, _plain, _jpeg, _cmyk, _grey8, _grey16, _one_bit, _palette, _alpha, _turned, _turned)
SPOILT = (_deep, _cut, _not_one)


@dataclass
class Row:
    """One image of a set as it is written."""

    path: str
    identity: str
    camera: str
    split: str
    bbox: str = ""


def labelled_set(folder: Path, rng: random.Random) -> Judged:
    """A table of pictures: read, embedded by their pixels and scored, against a reading in loops."""
    rows, truth, bad = _written(folder, rng)
    file, damage = _table(folder, rows, rng)
    people = [row for row in rows if reserved(row.identity) is None]
    bad = bad or damage or clash([r.identity for r in people]) or clash([r.camera for r in rows])
    good = bad is None and bool(people)
    return judged(lambda: _set_differs(file, rows, truth), good=good, bad=bad)


def _written(folder: Path, rng: random.Random) -> tuple[list[Row], dict[str, tuple[Pixels, int]], str | None]:
    people = list(TEXTS[rng.choice(list(TEXTS))])
    cameras = list(TEXTS[rng.choice(("numbers", "names", "padded"))])
    rng.shuffle(people)
    if rng.random() < 0.15:
        people[1] = rng.choice(
            (people[0].lstrip("0") or "1", f"{people[0]}.0", f"0{people[0]}", "-3", people[0] + "_", "NaN", "NA")
        )
    rows: list[Row] = []
    truth: dict[str, tuple[Pixels, int]] = {}
    bad: str | None = None
    wanted = [(p, s) for p in people[:2] for s in ("train", "train")]
    wanted += [(p, s) for p in people[2 : 3 + rng.randrange(3)] for s in ("query", "gallery", "gallery")]
    wanted += [(rng.choice(JUNK_TEXTS), "gallery")] * rng.randrange(2) + [(rng.choice(NOBODY_TEXTS), "gallery")]
    for number, (person, split) in enumerate(wanted):
        name = f"{number}.{rng.choice(('png', 'jpg', 'bmp', 'tif'))}"
        make = rng.choice(SPOILT) if rng.random() < 0.01 else rng.choice(PICTURES)
        made = make(folder / name, rng)
        if isinstance(made, str):
            bad = bad or (None if reserved(person) == "junk" else made)
        else:
            truth[name] = made
        rows.append(Row(name, person, rng.choice(cameras[:3]), split))
    if rng.random() < 0.2:
        rng.choice(rows).bbox = "0 0 4 8"
    return rows, truth, bad


def _table(folder: Path, rows: list[Row], rng: random.Random) -> tuple[Path, str | None]:
    """Writes the table as some program would; returns what was damaged on the way."""
    damage = None
    written = [Row(**vars(row)) for row in rows]
    if rng.random() < 0.15:
        victim = rng.choice(written)
        key, value, damage = rng.choice((
            ("identity", "", "an identity is missing"), ("camera", " ", "a camera is missing"),
            ("split", "test", "a split is unknown"), ("bbox", "0 0 inf 8", "a box is endless"),
            ("bbox", "3 3 1 1", "a box ends before it begins"), ("bbox", "0.1 0.1 0.9 0.9", "a box is relative"),
            ("path", "nowhere.png", "a picture is not there"), ("identity", "-7", "an identity is negative"),
        ))  # fmt: skip
        if reserved(victim.identity) == "junk" and key in ("path", "bbox"):
            damage = None
        else:
            setattr(victim, key, value)
    text = io.StringIO()
    style: dict[str, Any] = {"delimiter": rng.choice(",;\t"), "lineterminator": rng.choice(("\n", "\r\n"))}
    writer = csv.writer(text, quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)), **style)
    names = ["path", "identity", "camera", "split", "bbox"]
    writer.writerow([name.title() for name in names] if rng.random() < 0.3 else names)
    for row in written:
        split = row.split.upper() if rng.random() < 0.1 else row.split
        writer.writerow([row.path, row.identity, row.camera, split, row.bbox])
    file = folder / "own.csv"
    file.write_bytes(text.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))))
    return file, damage


def _set_differs(file: Path, rows: list[Row], truth: dict[str, tuple[Pixels, int]]) -> str | None:
    dataset = load_dataset({"csv": str(file)}, cache=file.parent / "cache")
    found = {record.path.name: (split, record) for split, all_ in dataset.splits.items() for record in all_}
    pixels = {name: read_image(record) for name, (_, record) in found.items()}  # refused here if one is not whole
    meant = {row.path: row for row in rows if reserved(row.identity) != "junk"}
    if found.keys() != meant.keys():
        return f"other images: {sorted(found.keys() ^ meant.keys())}"
    for name, (split, _) in found.items():
        right, allowed = truth[name]
        if split != meant[name].split:
            return f"{name} is in {split}"
        if pixels[name].shape != right.shape or np.abs(pixels[name].astype(int) - right).max() > allowed:
            return f"{name} shows something else"
    for label, number in (("identity", "identity"), ("camera", "camera")):
        pairs = {(getattr(meant[name], label), getattr(record, number)) for name, (_, record) in found.items()}
        if label == "identity":
            if any((value == 0) != (reserved(text) == "nobody") for text, value in pairs):
                return "somebody is a distractor, or the other way round"
            pairs = {(text, value) for text, value in pairs if value != 0}
        if not len(pairs) == len({text for text, _ in pairs}) == len({value for _, value in pairs}):
            return f"labels were joined or split: {sorted(pairs)}"
    return _score_differs(found, meant, pixels)


def _score_differs(found: dict[str, Any], meant: dict[str, Row], pixels: dict[str, Pixels]) -> str | None:
    """mAP of the pixels themselves as features, by `nas` and in loops over what the labels mean."""
    query = [name for name, (split, _) in found.items() if split == "query"]
    gallery = [name for name, (split, _) in found.items() if split == "gallery"]
    features = {n: _unit(p) for n, p in pixels.items()}
    right = _naive_map(query, gallery, meant, features)
    if _is_close(query, gallery, features):
        return None
    try:
        score = evaluate(
            np.stack([features[n] for n in query]),
            [found[n][1].identity for n in query],
            [found[n][1].camera for n in query],
            np.stack([features[n] for n in gallery]),
            [found[n][1].identity for n in gallery],
            [found[n][1].camera for n in gallery],
        ).map
    except NasError as error:
        return None if right is None else f"mAP is {right}, not refused with: {error.message}"
    return None if right is not None and math.isclose(score, right, abs_tol=1e-6) else f"mAP {score}, not {right}"


def _unit(pixels: Pixels) -> NDArray[np.float64]:
    # A constant beside the pixels: black pictures have a direction too.
    vector = np.append(pixels.reshape(-1) / 255.0, 1.0)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


def _is_close(query: list[str], gallery: list[str], features: dict[str, NDArray[np.float64]]) -> bool:
    """Whether two different images are equally far from a query but for rounding, which then decides."""
    for q in query:
        for one, other in itertools.combinations(gallery, 2):
            near = abs(float(features[one] @ features[q] - features[other] @ features[q])) < 1e-6
            if near and not np.array_equal(features[one], features[other]):
                return True
    return False


def _naive_map(
    query: list[str], gallery: list[str], meant: dict[str, Row], features: dict[str, NDArray[np.float64]]
) -> float | None:
    scores = []
    for q in query:
        kept = [
            g for g in gallery
            if not (meant[g].identity == meant[q].identity and meant[g].camera == meant[q].camera)
        ]  # fmt: skip
        ranked = sorted(kept, key=lambda g: -round(float(features[g] @ features[q]), 9))
        ranks = [rank for rank, g in enumerate(ranked, 1) if meant[g].identity == meant[q].identity]
        if ranks:
            scores.append(sum(hits / rank for hits, rank in enumerate(ranks, 1)) / len(ranks))
    return sum(scores) / len(scores) if scores else None


# -- tables that a study replays

CELLS = (
    "30,5", "30.0 ms", "", "nan", "inf", "-inf", "-1", "82", "1e-1", "0x1F", "\uff15", " 0.5 ", "+0.5", ".5", "1_000",
    "TRUE", "None", "1e400", "0.5.5", "5e", "½", "0", "-0.0", "1.0000000001", "=1+1", "٣", "1 000", "0,5", "5%",
)  # fmt: skip
_CELL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
CANDIDATES = ("resnet18+se@2", "resnet18+se@3", "resnet18+cnl@2", "resnet18", "resnet18+se@2,3", "resnet18+cnl@7")


def _cell(text: str) -> float | None:
    """A decimal number, or None."""
    text = text.strip()
    value = float(text) if _CELL.match(text) else math.nan
    return value if math.isfinite(value) else None


def result_table(folder: Path, rng: random.Random) -> Judged:
    """A table of results: every value that is looked up is the one in its cell."""
    quality = rng.choice(("map", "map_percent"))
    scale = 100.0 if quality == "map_percent" else 1.0
    names = ["candidate", "seed", quality, "latency_ms"]
    rows = [
        [c, str(s), repr(round(rng.random() * scale, 6)), repr(round(1 + rng.random() * 9, 4))]
        for c in rng.sample(CANDIDATES, rng.randrange(2, 6))
        for s in range(rng.choice((1, 2)))
    ]
    if rng.random() < 0.2:
        rows.append([*rng.choice(rows)[:2], "0.25", "3.5"])
    for _ in range(rng.choice((0, 1, 1, 2))):
        rng.choice(rows)[rng.randrange(1, 4)] = rng.choice(CELLS)
    meaning, bad = _table_meaning(rows, scale)
    separator = rng.choice(",;\t")
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=rng.choice(("\n", "\r\n"))).writerows([names, *rows])
    file = folder / "table.csv"
    file.write_bytes(text.getvalue().encode(rng.choice(("utf-8", "utf-8-sig"))))
    return judged(lambda: _table_differs(file, meaning), good=bad is None, bad=bad)


def _table_meaning(
    rows: list[list[str]], scale: float
) -> tuple[dict[tuple[str, int], tuple[float, float | None]], str | None]:
    found: dict[tuple[str, int], tuple[float, float | None]] = {}
    for candidate, seed, quality, cost in rows:
        at, score, price = _cell(seed), _cell(quality), _cell(cost)
        unknown = cost.strip().lower() in ("", "nan")
        if at is None or at != round(at):
            return {}, f"the seed is {seed!r}"
        if score is None or not 0 <= score <= scale:
            return {}, f"the mAP is {quality!r}"
        if not unknown and (price is None or price <= 0):
            return {}, f"the cost is {cost!r}"
        key = (candidate, int(at))
        value = (score / scale, None if unknown else price)
        if found.get(key, value) != value:
            return {}, f"{key} is there twice"
        found[key] = value
    return found, None


def _table_differs(file: Path, meaning: dict[tuple[str, int], tuple[float, float | None]]) -> str | None:
    table = ReplayTable.read(file, "resnet18")
    for (notation, seed), (score, _) in meaning.items():
        got = table.lookup(Candidate.parse(notation), seed)
        if got is None or not math.isclose(got, score, rel_tol=1e-12):
            return f"{notation} with seed {seed} is {got}, not {score}"
    if len(table.rows) != len(meaning):
        return f"{len(table.rows)} rows, not {len(meaning)}"
    for notation in {n for n, _ in meaning}:
        costs = [c for (n, _), (_, c) in meaning.items() if n == notation and c is not None]
        known = table.costs.get("latency_ms", {}).get(notation)
        if (known is None) != (not costs) or (costs and not math.isclose(known or 0, sum(costs) / len(costs))):
            return f"{notation} costs {known}, not {costs}"
    return None


# -- weights from elsewhere

BODY = "resnet18(width=0.0625,last_stride=1)"


def foreign_weights(folder: Path, rng: random.Random) -> Judged:
    """A file of weights: every parameter of the backbone holds what the file holds under its name."""
    from nas.networks import build_network

    network = build_network(BODY, num_classes=2, input_size=(32, 16), seed=0)
    right = {n: torch.randn(v.shape) if v.is_floating_point() else v for n, v in network.backbone.state_dict().items()}
    state: dict[str, Any] = {prefix + n: v for prefix in [_prefix(rng)] for n, v in right.items()}
    if rng.random() < 0.5:
        state["fc.weight"] = torch.zeros(3, 3)
    bad: str | None = None
    kind = rng.randrange(8)
    name = rng.choice([n for n, v in right.items() if v.is_floating_point()])
    key = next(n for n in state if n.endswith(name))
    if kind == 0:
        del state[key]
        bad = f"{name} is missing"
    elif kind == 1:
        state[key] = state[key].flatten()[:-1]
        bad = f"{name} is too small"
    elif kind == 2:
        state[key] = rng.choice((None, "x", 5, [1.0]))
        bad = f"{name} is no tensor"
    content: Any = rng.choice((state, {"state_dict": state, "epoch": 3}, {"model": state}))
    file = folder / "weights.pth"
    torch.save(content, file)
    data = bytearray(file.read_bytes())
    if kind == 3:
        for _ in range(rng.choice((1, 9))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 4:
        data, bad = data[: rng.randrange(len(data))], "half of the file is missing"
    elif kind == 5:
        data = bytearray(rng.choice((b"", b"<!DOCTYPE html><html>", b"PK\x03\x04", rng.randbytes(500))))
        bad = "the file holds no weights"
    file.write_bytes(data)
    return judged(lambda: _weights_differ(network, file, right), good=bad is None and kind > 5, bad=bad)


def _prefix(rng: random.Random) -> str:
    return "".join(rng.choice(("", "module.", "model.", "backbone.", "_orig_mod.", "base.")) for _ in range(2))


def _weights_differ(network: Any, file: Path, right: dict[str, torch.Tensor]) -> str | None:
    load_weights(network, file)
    wrong = [n for n, value in network.backbone.state_dict().items() if not torch.equal(value, right[n])]
    return f"{len(wrong)} parameters are others, {wrong[0]} first" if wrong else None


# -- addresses of databases

_PARTS = ("a", "b.db", "..", ".", "é", "a b", "%20", "#", "x" * 300, "[b]", "\x1b[31m", "'", '"', "\\", "nas")


def address(folder: Path, rng: random.Random) -> Judged:
    """An address: the file that a person means, or a sentence."""
    path = "/".join(rng.choice(_PARTS) for _ in range(rng.randrange(1, 4)))
    kind = rng.randrange(6)
    scheme = rng.choice(("", "sqlite:", "sqlite://", "sqlite:///", "SQLITE:///", "sqlite+pysqlite:///"))
    if kind < 3:
        rooted = rng.random() < 0.3
        meant = ("/" if rooted else "") + path
        # After one or two slashes a third would be the scheme's own.
        text = (scheme if scheme.endswith("///") or not rooted else "sqlite:///") + meant
        wanted = str(Path(meant))
        return judged(lambda: _file_differs(text, wanted), good="?" not in text, bad=None)
    odd = (
        "",
        " ",
        "://",
        "sqlite://?x",
        "sqlite:///a.db?mode=ro",
        "sqlite:///file:a.db",
        "mysql://u:secret@h/d",
        "x://",
    )
    more = ("postgresql://u:secret@", "postgresql://u:secret@h:port/d", "postgresql://[::1/d", "postgres://")
    text = rng.choice((*odd, *more))
    return judged(lambda: "taken" if parse_url(text) else None, good=False, bad=f"{text!r} names no database")


def _file_differs(text: str, wanted: str) -> str | None:
    found = parse_url(text)
    got = found.database
    return None if found.drivername == "sqlite" and got == wanted else f"{text!r} is {got!r}, not {wanted!r}"


# -- from Python

ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, float("nan"), "", "x", "resnet50+cnl@", "\0", [], {}, [[]], {"a": 1}, (1, 2), b"x",
    object(), Path("nowhere"), {"generated": {"train_identities": -1}}, {"csv": 5}, [{"market1501": "nowhere"}] * 2,
    {"name": "x"}, {"name": "s", "backbones": ["resnet50"], "blocks": [5]}, {"backbones": {"resnet50": {"width": -1}}},
    {"extends": "nothing"}, {"epochs": 0}, {"rule": 1}, {"findings": [1]}, "resnet50+cnl@6,8,14", np.zeros(3), {1, 2},
)  # fmt: skip
_GOOD: dict[str, dict[str, Any]] = {
    "space": yaml.safe_load(texts.TIED_SPACE),
    "rules": yaml.safe_load(texts.RULES_FILE),
    "recipe": yaml.safe_load(texts.RECIPE_FILES[1]),
    "study": yaml.safe_load(texts.RICH_STUDY),
}
_READ: dict[str, Callable[[Any], object]] = {
    "space": DesignSpace.from_dict,
    "rules": RuleSet.from_dict,
    "recipe": load_recipe,
    "study": study_from,
}
ENTRIES: dict[str, tuple[Callable[[Any], object], tuple[type, ...]]] = {
    "Candidate.parse": (Candidate.parse, (str,)),
    "Candidate.from_dict": (Candidate.from_dict, (dict,)),
    "DesignSpace.from_dict": (DesignSpace.from_dict, (dict,)),
    "RuleSet.from_dict": (RuleSet.from_dict, (dict,)),
    "load_recipe": (load_recipe, (str, dict)),
    "load_dataset": (load_dataset, (dict, list)),
    "LatencyProtocol.from_dict": (LatencyProtocol.from_dict, (dict,)),
    "study_from": (study_from, (dict,)),
    "Recipe.with_overrides": (load_recipe("quickstart").with_overrides, (dict,)),
    "ObjectiveSettings": (lambda value: ObjectiveSettings(table=value), (str,)),
    "start": (lambda value: study_from({**_GOOD["study"], "start": value}), (str, dict, list)),
    "nas.build_network": (lambda value: nas.build_network(value, num_classes=2, input_size=(32, 16)), (str,)),
}
"""Functions of one argument, with the types it may have."""


def arguments(folder: Path, rng: random.Random) -> Judged:
    """A value that no entry point expects, a file's content damaged, or features and labels that do not fit."""
    kind = rng.random()
    if kind < 0.4:
        return _odd_features(rng)
    if kind < 0.7:
        name = rng.choice(list(_GOOD))
        data = copy.deepcopy(_GOOD[name])
        for _ in range(rng.choice((1, 1, 2))):
            data = rng.choice(yaml_mutations.STRUCTURE)(data, rng)
        return judged(lambda: None if _READ[name](data) is not None else "nothing came back", good=False, bad=None)
    (entry, types), value = rng.choice(list(ENTRIES.values())), rng.choice(ODD)
    if isinstance(value, types):
        return judged(lambda: None if entry(value) is not None else "nothing came back", good=False, bad=None)
    try:
        entry(value)
    # What type checkers refuse, Python may refuse in its own words.
    except (NasError, TypeError, AttributeError, ValueError):
        return Judged(False)
    return Judged(True)


def _odd_features(rng: random.Random) -> Judged:
    """Features with their labels: a score in loops over what the labels say, or a sentence."""
    queries, gallery, width = rng.randrange(1, 5), rng.randrange(1, 8), rng.randrange(1, 4)
    make = np.random.default_rng(rng.randrange(2**32))
    query, found = make.normal(size=(queries, width)), make.normal(size=(gallery, width))
    ids: list[Any] = [int(n) for n in make.integers(1, 4, queries + gallery)]
    cameras: list[Any] = [int(n) for n in make.integers(1, 3, queries + gallery)]
    bad: str | None = None
    kind = rng.randrange(7)
    if kind == 0:
        query[0, 0], bad = rng.choice((np.nan, np.inf)), "a feature is not finite"
    elif kind == 1:
        found, bad = found[:, :-1] if width > 1 else np.zeros((gallery, 2)), "the widths differ"
    elif kind == 2:
        ids, bad = ids[:-1], "a label is missing"
    elif kind == 3:
        ids[rng.randrange(len(ids))], bad = 1.5, "a label is no whole number"
    elif kind == 4:
        ids[rng.randrange(len(ids))], bad = rng.choice(("ann", None)), "a label is no number"
    names = [str(n) for n in range(queries + gallery)]
    meant = {n: Row(n, str(i), str(c), "") for n, i, c in zip(names, [*ids, "?"], cameras, strict=False)}
    right = None
    if bad is None:
        unit = {n: v / np.linalg.norm(v) for n, v in zip(names, itertools.chain(query, found), strict=True)}
        right = _naive_map(names[:queries], names[queries:], meant, unit)

    def take() -> str | None:
        score = evaluate(query, ids[:queries], cameras[:queries], found, ids[queries:], cameras[queries:]).map
        return None if right is not None and math.isclose(score, right, abs_tol=1e-6) else f"mAP {score}, not {right}"

    return judged(take, good=bad is None and right is not None, bad=bad)


Case = Callable[[Path, random.Random], Judged]
CASES: dict[str, Case] = {
    "labelled sets": labelled_set,
    "result tables": result_table,
    "weights": foreign_weights,
    "database addresses": address,
    "Python entry points": arguments,
}
