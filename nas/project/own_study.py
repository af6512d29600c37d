"""A first study for a person's own images: sized to the set, written as a file that reads like the shipped ones."""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Mapping
from pathlib import Path

from nas import data
from nas.data import ReidDataset
from nas.data.images import read_image
from nas.data.records import DISTRACTOR
from nas.errors import DataError, NasError
from nas.files.names import is_study_name

IMAGES_A_TRAINING = 36_000
"""Images that the plain network sees: about a minute of two cores at quarter width, as in the quickstart."""
EPOCHS = (12, 60)
"""Fewer epochs leave a network from random weights untrained, more add little on a small set."""
FEWEST_TO_HOLD_OUT = 64
"""Training identities from which a quarter (16 or more) can be held out to choose on."""
FEWEST_IDENTITIES = 8
"""Identities of a training batch in the quickstart's recipe."""
SQUARE = 1.5
"""Height over width below which pictures are trained as squares; persons are about 2."""

TEMPLATE = string.Template("""\
# Where does attention belong on ${title}? Written by `nas init --data` for ${counts}.
#   nas run ${path} --profile smoke   the whole path in about two minutes, with worthless numbers
#   nas run ${path}
# Run it again and it resumes; raise `candidates` or `seeds` and it grows.
name: ${name}
title: Where does attention belong on ${title}?
question: Which block, at which of the 17 sites, is worth its milliseconds on this machine?

space:
  name: ${name}
  backbones: {resnet50: {width: 0.25}}   # 1 for a network to deploy; a quarter trains on a CPU
  sites: 1-17
  blocks:
    se: {}
    hac: {start: [identity, published]}
    cnl: {fuse: gate2}
  rules: [{max_blocks: 1}]

data: ${spec}
recipe: {extends: quickstart, epochs: ${epochs}, input: [${height}, ${width}]}
start: plain                           # the plain network is trained once, candidates are fine-tuned from it
${select} # ${why}

latency: {backend: eager, batch: 16, input: [${height}, ${width}], time_budget_s: 0.5, threads: 1, reference: resnet101}

database: sqlite:///${name}.db
seed: 1
workers: ${workers}

stages:
  - profile: {}
  - sweep: {design: stratified, candidates: 25, seeds: 1}
  - shrink: {families: [cost, hyperparameters], confirm: 6}
  - confirm: {max_candidates: 2, seeds: 1}

profiles:
  smoke:
    name: ${name}-smoke
    recipe: {extends: quickstart, epochs: 2, input: [${height}, ${width}]}
    latency: {time_budget_s: 0.1}
    database: sqlite:///${name}-smoke.db
    stages:
      - profile: {}
      - sweep: {design: stratified, candidates: 4, seeds: 1}
      - shrink: {families: [cost, hyperparameters], confirm: 0}
      - confirm: {max_candidates: 1, seeds: 1}
""")


def own_study(source: str, project: Path) -> tuple[Path, str]:
    """The study for a set of images, and the file it belongs into; nothing is written, so a bad set leaves nothing.

    Args:
        source: as after `nas data check`: a folder, a CSV, or NAME:PATH.
        project: folder of the project, from which the study is run.

    Returns:
        project/studies/NAME.yaml, the name being that of the set's folder or file, and its text.

    Raises:
        DataError: the set cannot be read, has too few identities to train on, or nothing to evaluate on.
        NasError: a study of that name is there.
    """
    spec = {key: _seen_from(project, value) for key, value in data.parse_source(source).items()}
    dataset = data.load_dataset(data.parse_source(source))
    identities = len({record.identity for record in dataset.train})
    if identities < FEWEST_IDENTITIES:
        raise DataError(
            f"{source} has {identities} training identities, a batch takes {FEWEST_IDENTITIES}",
            "Put images of more persons or things into its training split.",
        )
    if not dataset.query:
        raise DataError(
            f"{source} has no queries, so that nothing can be evaluated", "Add a query and a gallery split."
        )
    path = project / "studies" / f"{_name(source)}.yaml"
    text = _text(source, spec, dataset, identities, path.relative_to(project))
    if path.exists():
        raise NasError(f"{path} exists already", "remove it, or run it as it is")
    return path, text


def _text(source: str, spec: Mapping[str, object], dataset: ReidDataset, identities: int, path: Path) -> str:
    height, width = _input(dataset)
    hold_out = identities >= FEWEST_TO_HOLD_OUT
    why = (
        "a quarter of the training identities is held out to choose on"
        if hold_out
        else f"{identities} identities are too few to hold some out, so that the test chooses"
    )
    return TEMPLATE.substitute(
        name=_name(source),
        title=_name(source),
        path=path,
        counts=f"{len(dataset.train):,} training images of {identities} identities and "
        f"{len(dataset.query):,} queries of {len({r.identity for r in dataset.query} - {DISTRACTOR})}",
        spec=json.dumps(spec, ensure_ascii=False),  # which is YAML's one-line form too
        epochs=min(max(EPOCHS[0], round(IMAGES_A_TRAINING / len(dataset.train))), EPOCHS[1]),
        height=height,
        width=width,
        select=f"{'select_on: validation' if hold_out else 'select_on: test':<38}",
        why=why,
        workers=min(2, os.cpu_count() or 1),
    )


def _input(dataset: ReidDataset) -> tuple[int, int]:
    """Height and width for pictures shaped like the middle of some of the set."""
    step = max(1, len(dataset.train) // 20)
    shapes = sorted(height / width for height, width, _ in (read_image(r).shape for r in dataset.train[::step]))
    return (64, 32) if shapes[len(shapes) // 2] >= SQUARE else (48, 48)


def _name(source: str) -> str:
    stem = Path(source.split(",")[0].partition(":")[2] or source).resolve().name.split(".")[0] or "own"
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-").lower()
    return name if is_study_name(name) else "own"


def _seen_from(project: Path, value: object) -> object:
    """A path as the study sees it, which is run from the project's folder."""
    if not isinstance(value, str) or not Path(value).exists() or Path(value).is_absolute():
        return value
    return os.path.relpath(value, project)
