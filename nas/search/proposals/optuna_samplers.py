"""Optuna's samplers, asked in memory: history in, suggestions out.

The in-memory study is built anew for every batch from the observations, so nothing depends on a
process that may be killed; the generation that a genetic sampler notes on its trials travels with
the observations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, QMCSampler, TPESampler
from optuna.trial import FrozenTrial

from nas.search.proposals.base import Observation, Proposal, Request
from nas.search.proposals.encoding import Encoding
from nas.search.proposals.feasible import NewCandidates

OPTUNA_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, n_startup_trials=10),
    "gp": lambda seed: GPSampler(seed=seed),
    # Populations small enough for several generations within the some hundred trainings that a study can pay.
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "nsga3": lambda seed: NSGAIIISampler(seed=seed, population_size=20),
    "qmc": lambda seed: QMCSampler(seed=seed, scramble=True, warn_asynchronous_seeding=False),
}
# A low-discrepancy sequence must continue, not start anew, with every batch.
_ONE_SEED_A_STAGE = {"qmc"}


class OptunaProposals:
    """A `Sampler` that asks one of Optuna's.

    Args:
        name: key of `OPTUNA_SAMPLERS`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, request: Request) -> list[Proposal]:
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # experimental samplers say so at every batch
                return self._proposals(request)
        finally:
            optuna.logging.set_verbosity(before)

    def _proposals(self, request: Request) -> list[Proposal]:
        encoding = Encoding(request.space)
        study = self._study(request, encoding)
        fresh = NewCandidates(request)
        found: list[Proposal] = []
        while len(found) < request.count:
            trial = study.ask(encoding.distributions())
            candidate = fresh.take(encoding.decode(trial.params))
            if candidate is None:
                break
            noted = study.get_trials(deepcopy=False)[trial.number].system_attrs
            kept = {key: value for key, value in noted.items() if key.endswith(":generation")}
            found.append(Proposal(candidate, {"system_attrs": kept} if kept else {}))
        return found

    def _study(self, request: Request, encoding: Encoding) -> optuna.Study:
        seed = request.seed % (2**31) if self._name in _ONE_SEED_A_STAGE else request.number(self._name)
        most, least = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
        sampler = OPTUNA_SAMPLERS[self._name](seed)
        study = optuna.create_study(directions=[most, *[least] * request.costs], sampler=sampler)
        distributions = encoding.distributions()
        trials = [_frozen(o, encoding, distributions) for o in request.history]
        study.add_trials([trial for trial in trials if trial is not None])
        return study


def _frozen(
    observation: Observation, encoding: Encoding, distributions: dict[str, BaseDistribution]
) -> FrozenTrial | None:
    """A finished trial for an observation; None when the space of this stage cannot hold it."""
    params = encoding.encode(observation.candidate)
    if params is None:
        return None
    values = observation.values
    return optuna.create_trial(
        state=optuna.trial.TrialState.FAIL if values is None else optuna.trial.TrialState.COMPLETE,
        values=values,
        params=params,
        distributions=distributions,
        system_attrs=dict(noted) if isinstance(noted := observation.attrs.get("system_attrs"), Mapping) else {},
    )
