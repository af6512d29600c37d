"""From the `data:` key of a study, or a word on the command line, to a `ReidDataset`.

One set is one mapping: `{market1501: PATH}`, `{cuhk03: PATH, variant: detected}`,
`{generated: {train_identities: 64}}`, `{my_sets:read_depot: PATH}` with a reader of one's own. A
list of them is joined: persons and cameras of different sets stay different. `{train: ..., test:
...}` trains on one and evaluates on another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

from nas.data.listing import MARKET_FOLDERS
from nas.data.readers import READERS, Reader
from nas.data.readers.generated import read_generated
from nas.data.records import DISTRACTOR, Records, ReidDataset
from nas.errors import DataError, unknown_name
from nas.files.places import located
from nas.progress import Progress
from nas.spaces.own_code import is_own
from nas.spaces.plugins import find_part, is_part

Spec = Mapping[str, object] | Sequence[Mapping[str, object]]
CROSS = ("train", "test")
GENERATED = "generated"


def load_dataset(
    spec: Spec, base: Path | Sequence[Path] | None = None, cache: Path | None = None, progress: Progress | None = None
) -> ReidDataset:
    """Read the set, or the joined sets, that a study asks for.

    Args:
        spec: see the module's first lines.
        base: folder that relative paths start from, or several: the first that has what they name counts; the current
            one when None.
        cache: where generated sets are drawn; `.nas/cache` or `$NAS_CACHE` when None.
        progress: told how far drawing is.

    Raises:
        DataError: unknown set or option, missing folder, unreadable list or name.
    """
    loading = _Loading((base or Path(),) if isinstance(base, Path | None) else tuple(base), cache, progress)
    plain = _plain(spec)
    return replace(loading.load(spec), spec=plain if isinstance(plain, dict) else {"joined": plain})


class _Loading:
    def __init__(self, folders: Sequence[Path], cache: Path | None, progress: Progress | None) -> None:
        self.folders, self.cache, self.progress = folders, cache, progress

    def load(self, spec: object) -> ReidDataset:
        if isinstance(spec, Mapping) and set(spec) == {"joined"}:
            return self.load(spec["joined"])
        if isinstance(spec, Mapping):
            return self._cross(spec) if set(spec) == set(CROSS) else self._single(spec)
        if isinstance(spec, str) or not isinstance(spec, Sequence) or not spec:
            raise DataError(f"data must be a mapping like {{market1501: PATH}} or a list of them, not {spec!r}")
        return reduce(join, [self.load(part) for part in spec])

    def _cross(self, spec: Mapping[str, object]) -> ReidDataset:
        train, test = self.load(spec["train"]), self.load(spec["test"])
        if not test.query or not test.gallery:
            raise DataError(f"{test.name} has no query and gallery images to evaluate on")
        return replace(
            test,
            name=f"{train.name}_to_{test.name}",
            train=train.train,
            junk={**test.junk, "train": train.junk.get("train", 0)},
            fixed_id=None,
        )

    def _single(self, spec: Mapping[str, object]) -> ReidDataset:
        known = [*READERS, GENERATED]
        named = [str(key) for key in spec if is_part("reader", str(key), known)]
        if len(named) != 1:
            wrong = next((str(key) for key in spec if key not in known), None)
            raise DataError(
                unknown_name("data set", wrong, known)
                if wrong and not named
                else f"data must name one set, not {named}"
            )
        options = {key: value for key, value in spec.items() if key != named[0]}
        if named[0] == GENERATED:
            return self._generated(spec[GENERATED], options)
        return self._read(named[0], spec[named[0]], options)

    def _generated(self, settings: object, options: Mapping[str, object]) -> ReidDataset:
        if options or not isinstance(settings, Mapping | None):
            raise DataError("generated data takes one mapping: {generated: {train_identities: 64, seed: 0}}")
        return read_generated(settings or {}, self.cache, self.progress)

    def _read(self, name: str, path: object, options: Mapping[str, object]) -> ReidDataset:
        reader = find_part("reader", name, READERS)
        for key in options if isinstance(reader, Reader) else ():
            if key not in reader.options:
                raise DataError(unknown_name(f"option of {name}", str(key), reader.options))
        if not isinstance(path, str | Path):
            raise DataError(f"{name} must be given a path, not {path!r}")
        place = located(path, self.folders)
        found = reader.read(place, **options) if isinstance(reader, Reader) else _own(name, reader, place, options)
        return replace(found, cache=self.cache)


def _own(name: str, reader: Callable[..., object], path: Path, options: Mapping[str, object]) -> ReidDataset:
    """What a reader of one's own makes of a path."""
    try:
        found = reader(path, **options)
    except (TypeError, OSError, ValueError) as error:
        raise DataError(f"reader {name} cannot read {path}: {error}") from error
    if not isinstance(found, ReidDataset):
        raise DataError(f"reader {name} must return a nas.data.ReidDataset, not {type(found).__name__}")
    return found


def join(one: ReidDataset, other: ReidDataset) -> ReidDataset:
    """Both sets as one, with the identities and cameras of the second moved above those of the first."""
    everything = [r for records in one.splits.values() for r in records]
    identity, camera = (max((getattr(r, a) for r in everything), default=0) for a in ("identity", "camera"))

    def moved(records: Records) -> Records:
        return tuple(
            replace(
                r, identity=r.identity + identity if r.identity != DISTRACTOR else DISTRACTOR, camera=r.camera + camera
            )
            for r in records
        )

    return ReidDataset(
        name=f"{one.name}+{other.name}",
        train=one.train + moved(other.train),
        query=one.query + moved(other.query),
        gallery=one.gallery + moved(other.gallery),
        root=one.root,
        left_out=dict(Counter(one.left_out) + Counter(other.left_out)),
        junk={split: one.junk.get(split, 0) + other.junk.get(split, 0) for split in one.splits},
        cache=one.cache,
    )


def parse_source(text: str) -> dict[str, object]:
    """The spec behind a word on the command line: `market1501:PATH`, a bare path, or `generated:key=value,...`.

    >>> parse_source("duke:data/duke")
    {'duke': 'data/duke'}
    >>> parse_source("generated:train_identities=8,seed=2")
    {'generated': {'train_identities': '8', 'seed': '2'}}
    >>> parse_source("my_sets:read_depot:data/depot,night=yes")
    {'my_sets:read_depot': 'data/depot', 'night': 'yes'}
    """
    name, colon, rest = text.partition(":")
    if colon and name not in (*READERS, GENERATED) and is_own(own := ":".join(text.split(":")[:2])):
        name, rest = own, text.removeprefix(own).removeprefix(":")
        colon = ":" if rest else ""
    if name == GENERATED:
        return {GENERATED: dict(_assignment(part) for part in rest.split(",") if part)}
    if colon and is_part("reader", name, READERS):
        path, _, options = rest.partition(",")
        return {name: path, **dict(_assignment(part) for part in options.split(",") if part)}
    return guess_source(Path(text))


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise DataError(f"{text!r} is not of the form key=value")
    return key.strip(), value.strip()


def guess_source(path: Path) -> dict[str, object]:
    """The spec of an unnamed path, from what lies there: a CSV, lists of MSMT17, variants of CUHK03, folders."""
    if path.suffix.lower() in (".csv", ".tsv"):
        return {"csv": str(path)}
    if not path.exists():
        raise DataError(
            f"{path} does not exist", f"Give a folder, a CSV, or NAME:PATH with NAME one of {', '.join(READERS)}."
        )
    if (path / "list_train.txt").exists():
        return {"msmt17": str(path)}
    if (path / "labeled").is_dir():
        return {"cuhk03": str(path)}
    if (path / "omniglot-py").is_dir() or (path / "images_background").is_dir():
        return {"omniglot": str(path)}
    if any((path / folder).is_dir() for folder in MARKET_FOLDERS.values()):
        return {"folders": str(path)}
    raise DataError(
        f"{path} looks like no known set (no folder {', '.join(MARKET_FOLDERS.values())}, no list_train.txt)",
        f"Name it: NAME:PATH with NAME one of {', '.join(READERS)}.",
    )


def _plain(spec: object) -> object:
    if isinstance(spec, Mapping):
        return {str(key): _plain(value) for key, value in spec.items()}
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        return [_plain(part) for part in spec]
    return str(spec) if isinstance(spec, Path) else spec
