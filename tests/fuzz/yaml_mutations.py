"""Damaged YAML: what editors, disks, copy-and-paste and ill will make of a file that was right.

`mutated(text, random)` returns the bytes of one damaged copy. Half of the mutations change the structure (keys and
values), the others the text.
"""

from __future__ import annotations

import copy
import random
import string
from collections.abc import Callable
from typing import Any

import yaml

GARBAGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 17, 18, 10**6, 10**9, 10**18, 2**63, -(2**63), 10**400, 0.5, -0.5, 1e-320, 1e308,
    float("nan"), float("inf"), float("-inf"), "", " ", "x", "all", "none", "null", "nan", "1-", "-3", "17-1",
    "1-999999", "1-99999999999", "5-", ",", "resnet50", "resnet999", "cnl", "cnll", "cnl(", "cnl(fuse=)",
    "cnl(fuse=add", "se(reduction=3)", "resnet50+cnl@99", "os:system", "nas.errors:NasError", "nas:nothing", "a b",
    "é", "\u202e", "\U0001f9b4", "{x!r}", "%s%n", "../../../etc/passwd", "/", "/dev/null", "~", "C:\\x", "x" * 5000,
    "\x7f", [], {}, [None], [[]], [{}], {"": ""}, {1: 2}, [1, 2], [3, 1], [1, 1], ["cnl", "cnl"], [True, 1, "1"],
    {"cnl": {}}, {"stages": [2]}, {"stages": "x", "place": 99}, {"place": "last"}, {"count": 1, "block": "cnl"},
    {"a": {"b": {"c": {"d": [1, {"e": None}]}}}}, {"extends": "quickstart"}, {"generated": {}},
    [{"generated": {}}, {"generated": {}}], {"train": {"generated": {}}, "test": {"generated": {}}},
    {"csv": "nowhere.csv"}, "2024-01-01", "12:30", "0x1F", "1_000", "1e3", "yes", "sqlite://", "mysql://u:secret@h/x",
    "postgresql://", "sqlite:///nowhere/at/all.db", list(range(200)), {str(n): n for n in range(200)}, [0.1] * 50,
)  # fmt: skip
TAGS = (
    "!!python/object/apply:os.system",
    "!!binary",
    "!!set",
    "!!timestamp",
    "!!omap",
    "!x",
    "!!int",
    "!!float",
    "!!str",
)
ODD_CHARACTERS = "&*!|>%@`{}[]:#,?-'\"\\\t\0\x01\x1b\x85\u2028\ufeff\ud800~=<"
TextMutation = Callable[[str, random.Random], bytes]


def mutated(text: str, rng: random.Random) -> bytes:
    """One damaged copy of a YAML file's text."""
    if rng.random() < 0.55:
        data = yaml.safe_load(text)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            data = rng.choice(STRUCTURE)(data, rng)
        # A key that became a list or a mapping cannot be written down by PyYAML's own writer for people.
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=rng.random() < 0.5).encode(errors="surrogatepass")
    return rng.choice(TEXT)(text, rng)


# -- structure

Path = tuple[Any, ...]


def paths(data: Any, here: Path = ()) -> list[Path]:
    """The place of every value below the top."""
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list):
        items = list(enumerate(data))
    else:
        return []
    return [place for key, value in items for place in ((*here, key), *paths(value, (*here, key)))]


def value_at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _changed(data: Any, rng: random.Random, change: Callable[[Any, Any], None]) -> Any:
    """A copy in which `change(container, key)` was done at a random place."""
    data = copy.deepcopy(data)
    places = paths(data)
    if places:
        *above, key = rng.choice(places)
        change(value_at(data, tuple(above)), key)
    return data


def set_garbage(data: Any, rng: random.Random) -> Any:
    return _changed(data, rng, lambda box, key: box.__setitem__(key, copy.deepcopy(rng.choice(GARBAGE))))


def delete(data: Any, rng: random.Random) -> Any:
    return _changed(data, rng, lambda box, key: box.__delitem__(key))


def rename(data: Any, rng: random.Random) -> Any:
    def change(box: Any, key: Any) -> None:
        if isinstance(box, dict):
            box[_typo(key, rng)] = box.pop(key)

    return _changed(data, rng, change)


def add(data: Any, rng: random.Random) -> Any:
    def change(box: Any, key: Any) -> None:
        value = copy.deepcopy(rng.choice(GARBAGE))
        if isinstance(box, dict):
            box[_typo(key, rng)] = value
        else:
            box.insert(key, value)

    return _changed(data, rng, change)


def wrap(data: Any, rng: random.Random) -> Any:
    depth = rng.choice((1, 1, 2, 30))

    def change(box: Any, key: Any) -> None:
        for level in range(depth):
            box[key] = [box[key]] if level % 2 else {"value": box[key]}

    return _changed(data, rng, change)


def swap(data: Any, rng: random.Random) -> Any:
    data = copy.deepcopy(data)
    places = paths(data)
    if not places:
        return data
    one, other = rng.choice(places), rng.choice(places)
    if one[: len(other)] == other or other[: len(one)] == one:
        return data
    first, second = value_at(data, one), value_at(data, other)
    value_at(data, one[:-1])[one[-1]] = second
    value_at(data, other[:-1])[other[-1]] = first
    return data


def repeat(data: Any, rng: random.Random) -> Any:
    times = rng.choice((2, 3, 50))

    def change(box: Any, key: Any) -> None:
        if isinstance(box[key], list):
            box[key] = [copy.deepcopy(item) for item in box[key] * times]
        elif isinstance(box[key], int | float):
            box[key] *= rng.choice((-1, 0, 10, 1000, 10**9))
        elif isinstance(box[key], str):
            box[key] *= times

    return _changed(data, rng, change)


def replace_all(data: Any, rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(GARBAGE)) if rng.random() < 0.2 else set_garbage(data, rng)


def _typo(key: Any, rng: random.Random) -> Any:
    text = str(key)
    if not text or rng.random() < 0.15:
        return rng.choice((None, True, 0, -1, 1.5, "", "é", "x" * 300, "a\nb"))
    place = rng.randrange(len(text))
    kind = rng.randrange(4)
    if kind == 0:
        return text[:place] + text[place + 1 :]
    if kind == 1:
        return text[:place] + rng.choice(string.ascii_letters) + text[place:]
    if kind == 2:
        return text.upper()
    return text[:place] + rng.choice(string.printable) + text[place + 1 :]


STRUCTURE: tuple[Callable[[Any, random.Random], Any], ...] = (
    set_garbage, set_garbage, set_garbage, delete, rename, rename, add, add, wrap, swap, repeat, replace_all,
)  # fmt: skip


# -- text


def flip_bytes(text: str, rng: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(rng.choice((1, 3, 30))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def truncate(text: str, rng: random.Random) -> bytes:
    return text.encode()[: rng.randrange(len(text))]


def change_lines(text: str, rng: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    for _ in range(rng.choice((1, 2, 4))):
        one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0 and len(lines) > 1:
            del lines[one]
        elif kind == 1:
            lines.insert(other % (len(lines) + 1), lines[one])
        elif kind == 2:
            lines[one], lines[other % len(lines)] = lines[other % len(lines)], lines[one]
        elif kind == 3:
            lines[one] = rng.choice((" ", "  ", "\t", "- ", "? ")) + lines[one]
        else:
            lines[one] = lines[one].lstrip()
    return "".join(lines).encode()


def insert_odd(text: str, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 5))):
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice(ODD_CHARACTERS) + text[place:]
    return text.encode(errors="surrogatepass")


def other_encoding(text: str, rng: random.Random) -> bytes:
    text = text.replace("name:", "name: é", 1)
    return text.encode(
        rng.choice(("utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "utf-16-be", "cp037")), "replace"
    )


def other_line_ends(text: str, rng: random.Random) -> bytes:
    return text.replace("\n", rng.choice(("\r\n", "\r", "\n\n", "\u2028", "\n\0", "\f\n"))).encode()


def tagged(text: str, rng: random.Random) -> bytes:
    colons = [i for i, c in enumerate(text) if c == ":"]
    place = rng.choice(colons) + 1
    return f"{text[:place]} {rng.choice(TAGS)} {text[place:]}".encode()


def anchored(text: str, rng: random.Random) -> bytes:
    levels, width = rng.choice(((3, 3), (9, 9), (40, 2), (25, 10)))
    bomb = ["bomb0: &b0 [x]"]
    bomb += [f"bomb{n}: &b{n} [{', '.join([f'*b{n - 1}'] * width)}]" for n in range(1, levels)]
    extra = rng.choice(
        ("\n".join(bomb), "self: &s [*s]", "a: &a {<<: *a}", "<<: {x: 1}", "<<: [1]", "x: *nowhere", "&a b: *a")
    )
    return f"{extra}\n{text}".encode() if rng.random() < 0.5 else f"{text}\n{extra}\n".encode()


def nested(text: str, rng: random.Random) -> bytes:
    depth = rng.choice((20, 200, 2_000, 40_000))
    opening, closing = rng.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("!x [", "]"), ("[", "")))
    return f"{text}\nextra: \n  {opening * depth}{closing * depth}\n".encode()


def huge_scalars(text: str, rng: random.Random) -> bytes:
    value = rng.choice(
        ("9" * 5_000, "1e" + "9" * 50, "0." + "1" * 5_000, "x" * 300_000, "-" * 10_000, "- 1\n" * 60_000)
    )
    colons = [i for i, c in enumerate(text) if c == ":"]
    place = rng.choice(colons) + 1
    return f"{text[:place]} {value} {text[place:]}".encode()


def documents(text: str, rng: random.Random) -> bytes:
    several = (f"{text}\n---\n{text}", f"%YAML 9.9\n---\n{text}", f"---\n...\n---\n{text}", f"{text}...\n", text + text)
    nothing = ("", "\n", "#", "---\n", "- a\n- b\n", "just words\n", "42\n", "null\n", "\ufeff", "{" * 50 + text)
    return rng.choice(several + nothing).encode()


def random_bytes(text: str, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((1, 10, 1_000, 10_000)))


TEXT: tuple[TextMutation, ...] = (
    flip_bytes, flip_bytes, truncate, change_lines, change_lines, insert_odd, insert_odd, other_encoding,
    other_line_ends, tagged, anchored, nested, huge_scalars, documents, random_bytes,
)  # fmt: skip
