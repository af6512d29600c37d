"""What a placement adds: the additive model of costs, for latency tables, screening, rules and figures.

    additive:  T = t0 + sum of increments          once:  T = t0 + c + sum of increments   (c only with a block)

Equal shapes share an increment. The paper's own figures show why this is a screen and no measurement: the single
costs of its blocks overestimate its triples by up to 8.9 %. Whatever reaches a front is measured itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nas.errors import LatencyError
from nas.spaces import Candidate, Placement, as_candidate, get_topology
from nas.spaces.blocks import Params

Once = Literal["none", "network", "block"]


class Row(NamedTuple):
    """A measured network: the candidate and its milliseconds a batch."""

    candidate: Candidate
    ms: float


class Part(NamedTuple):
    """What an increment belongs to: a block with its hyperparameters, on a shape, in a backbone."""

    backbone: str
    backbone_params: Params
    block: str
    params: Params
    channels: int
    stride: int


def part_of(candidate: Candidate, placement: Placement) -> Part:
    """The part a placement is: placements with equal parts cost the same."""
    last_stride = int(dict(candidate.backbone_params).get("last_stride", 1))
    site = get_topology(candidate.backbone, last_stride).site(placement.site)
    return Part(
        candidate.backbone, candidate.backbone_params, placement.block, placement.params, site.channels, site.stride
    )


@dataclass(frozen=True)
class FitError:
    """How far predictions are from measurements they were not fitted on.

    Attributes:
        networks: number of networks predicted.
        mean_percent: mean absolute error in percent of the measured time.
        worst_percent: the largest.
        bias_percent: mean signed error; above 0 means too slow a prediction.
    """

    networks: int
    mean_percent: float
    worst_percent: float
    bias_percent: float


@dataclass(frozen=True)
class AdditiveModel:
    """Baselines, increments and the cost once a network, in milliseconds.

    Attributes:
        baselines: time of each backbone without blocks, by (backbone, its hyperparameters).
        increments: what each part adds.
        once: the kind of once-only cost: none, a network, or a block type.
        once_ms: that cost, by block type ("" for every type alike).
        residual_sd_ms: standard deviation of the residuals of the fitted multi-block networks; None without any.
    """

    baselines: dict[tuple[str, Params], float]
    increments: dict[Part, float]
    once: Once
    once_ms: dict[str, float]
    residual_sd_ms: float | None

    @classmethod
    def fit(cls, rows: Iterable[Row | tuple[Candidate | str, float]], once: Once = "none") -> AdditiveModel:
        """Fits increments by least squares; networks without a block fix the baselines.

        Args:
            rows: measured networks: baselines, single placements and, for a cost once a network, several blocks.
            once: `none`; `network`: one cost for any network with a block; `block`: one a block type it contains.

        Raises:
            LatencyError: when a backbone was never measured without blocks.
        """
        given = [Row(as_candidate(candidate).architecture, float(ms)) for candidate, ms in rows]
        baselines = _baselines(given)
        placed = [row for row in given if row.candidate.placements]
        columns, matrix = _design(placed, once)
        target = np.array([row.ms - baselines[_key(row.candidate)] for row in placed])
        weights = np.linalg.lstsq(matrix, target, rcond=None)[0] if placed and columns else np.zeros(len(columns))
        found = dict(zip(columns, weights.tolist(), strict=True))
        several = [i for i, row in enumerate(placed) if len(row.candidate.placements) > 1]
        rest = (target - matrix @ weights)[several] if several else np.zeros(0)
        return cls(
            baselines,
            {key: value for key, value in found.items() if isinstance(key, Part)},
            once,
            {key: value for key, value in found.items() if isinstance(key, str)},
            float(np.sqrt(np.mean(rest**2))) if several else None,
        )

    def predict(self, candidate: Candidate | str) -> float | None:
        """Milliseconds a batch; None when the baseline or one of the parts was never measured."""
        network = as_candidate(candidate)
        total = self.baselines.get(_key(network))
        if total is None:
            return None
        for placement in network.placements:
            increment = self.increments.get(part_of(network, placement))
            if increment is None:
                return None
            total += increment
        return total + sum(self.once_ms.get(key, 0.0) for key in _once_keys(network, self.once))

    def error(self, rows: Iterable[Row | tuple[Candidate | str, float]]) -> FitError | None:
        """How well measured networks are predicted; None when none of them can be."""
        errors = []
        for candidate, ms in rows:
            predicted = self.predict(candidate)
            if predicted is not None:
                errors.append(100.0 * (predicted - ms) / ms)
        return _fit_error(errors)


def cross_validate(rows: Sequence[Row | tuple[Candidate | str, float]], once: Once = "none") -> FitError | None:
    """The error on each network with several blocks, left out of the fit in turn; None when there are none.

    Baselines and single placements stay in every fit: they are measured first in any study.
    """
    errors: list[float] = []
    for i, (candidate, ms) in enumerate(rows):
        if len(as_candidate(candidate).placements) < 2:
            continue
        predicted = AdditiveModel.fit([row for j, row in enumerate(rows) if j != i], once).predict(candidate)
        if predicted is not None:
            errors.append(100.0 * (predicted - ms) / ms)
    return _fit_error(errors)


def _fit_error(errors: list[float]) -> FitError | None:
    if not errors:
        return None
    values = np.array(errors)
    size = np.abs(values)
    return FitError(len(errors), float(size.mean()), float(size.max()), float(values.mean()))


def _key(candidate: Candidate) -> tuple[str, Params]:
    return candidate.backbone, candidate.backbone_params


def _baselines(rows: Sequence[Row]) -> dict[tuple[str, Params], float]:
    found: dict[tuple[str, Params], list[float]] = {}
    for row in rows:
        if not row.candidate.placements:
            found.setdefault(_key(row.candidate), []).append(row.ms)
    for row in rows:
        if _key(row.candidate) not in found:
            raise LatencyError(
                f"{row.candidate.baseline.notation} was not measured without blocks",
                "a prediction adds increments to the baseline: measure the baseline too",
            )
    return {key: float(np.median(values)) for key, values in found.items()}


def _once_keys(candidate: Candidate, once: Once) -> list[str]:
    if once == "none" or not candidate.placements:
        return []
    return [""] if once == "network" else sorted(set(candidate.blocks))


def _design(rows: Sequence[Row], once: Once) -> tuple[list[Part | str], np.ndarray]:
    """Columns (parts, then once-only costs) and the matrix of how often each network has them."""
    columns: dict[Part | str, int] = {}
    cells: list[tuple[int, Part | str]] = []
    separable = _separable(rows, once)
    for i, row in enumerate(rows):
        cells += [(i, part_of(row.candidate, placement)) for placement in row.candidate.placements]
        cells += [(i, key) for key in _once_keys(row.candidate, once) if key in separable]
    for _, key in cells:
        columns.setdefault(key, len(columns))
    matrix = np.zeros((len(rows), len(columns)))
    for i, key in cells:
        matrix[i, columns[key]] += 1.0
    return list(columns), matrix


def _separable(rows: Sequence[Row], once: Once) -> set[str]:
    """The once-only costs that can be told from increments: somewhere the cost is shared by several blocks."""
    if once == "network":
        return {""} if any(len(row.candidate.placements) > 1 for row in rows) else set()
    return {block for row in rows for block in row.candidate.blocks if row.candidate.blocks.count(block) > 1}


# -- equal tensors


def twins(measured: Iterable[Candidate]) -> dict[Candidate, Candidate]:
    """Single placements never measured, each with a measured one of equal block, settings and tensor: the same cost."""
    networks = set(measured)
    by_part: dict[Part, Candidate] = {}
    for single in sorted((c for c in networks if len(c.placements) == 1), key=_site_of):
        by_part.setdefault(part_of(single, single.placements[0]), single)
    found = {}
    for part, single in by_part.items():
        for site in sites_of(part):
            placed = [(site, part.block, dict(part.params))]
            twin = Candidate.make(part.backbone, placed, dict(part.backbone_params))
            if twin not in networks:
                found[twin] = single
    return found


def _site_of(single: Candidate) -> tuple[str, int]:
    return single.backbone, single.placements[0].site


def sites_of(part: Part) -> list[int]:
    """The sites with the part's tensor."""
    last_stride = int(dict(part.backbone_params).get("last_stride", 1))
    sites = get_topology(part.backbone, last_stride).sites
    return [site.number for site in sites if (site.channels, site.stride) == (part.channels, part.stride)]
