"""How fast this machine trains a network of a study: a few timed steps with its losses and its optimiser.

The images are random, so no data set is needed; what reading and augmenting them costs is not in it. A limit in
seconds holds: where full batches would take longer, small ones are timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nas.networks import build_network
from nas.spaces import Candidate
from nas.training.checkpoints import network_settings
from nas.training.layout import channels_last
from nas.training.losses import LossInputs, TotalLoss
from nas.training.optimisers import centre_optimiser, network_optimiser
from nas.training.precision import autocast, resolve_precision
from nas.training.recipe import Recipe
from nas.training.teachers import ask_teachers, check_teachers

STEPS = 3
"""At least so many are timed, after one that is not: it pays for memory and kernels."""
LONG_S = 1.0
"""Steps of small networks are timed for so long: of three, in a quarter of a second, a tenth would be chance."""
LIMIT_S = 20.0
"""Seconds that the steps of one network may take: a dry run is looked at, not waited for."""
CLASSES = 64
"""Of the made-up identities: the classifier is a small part of a step for any number up to some thousands."""


@dataclass(frozen=True)
class Speed:
    """Images a second of one network.

    Attributes:
        train: in training steps.
        infer: when features are taken, as an evaluation does.
    """

    train: float
    infer: float
    batch: int


def probe(candidate: Candidate, recipe: Recipe, device: str, threads: int | None, limit_s: float = LIMIT_S) -> Speed:
    """Times a network.

    Args:
        threads: CPU threads that one worker will have; None leaves them.
        limit_s: seconds that the steps should take at most; two steps of the smallest batch are always made.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        return _timed(candidate, recipe, torch.device(device), limit_s)
    finally:
        torch.set_num_threads(before)


def _timed(candidate: Candidate, recipe: Recipe, device: torch.device, limit_s: float) -> Speed:
    network = build_network(candidate, num_classes=CLASSES, input_size=recipe.input, seed=0, **network_settings(recipe))
    channels_last(network.to(device).train())
    classifier = network.classifier
    if classifier is None:
        raise RuntimeError("a network without classifier cannot be trained")
    teachers = [
        build_network(saved.candidate, num_classes=CLASSES, input_size=recipe.input, **network_settings(saved.recipe))
        .to(device)
        .eval()
        for saved in check_teachers(recipe)
    ]
    taught = [teacher.embedding_dim for teacher in teachers]
    loss = TotalLoss(
        recipe, CLASSES, network.embedding_dim, torch.Generator().manual_seed(0), taught, network.pooled_dim
    ).to(device)
    optimisers = [network_optimiser(network, recipe, loss.maps.parameters()), centre_optimiser(loss, recipe)]
    precision = resolve_precision(recipe.precision, device)
    captured: list[torch.Tensor] = []
    network.pool.register_forward_pre_hook(lambda _module, inputs: captured.append(inputs[0]))

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        captured.clear()
        with autocast(precision, device):
            found, said = network(images), ask_teachers(teachers, images)
        given = (found.pooled, found.embedding, found.logits, labels, classifier, network, captured[-1], said)
        total, _ = loss(LossInputs(*given), None)
        total.backward()
        for optimiser in optimisers:
            if optimiser is not None:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)

    def seconds(identities: int, steps: int) -> float:
        images = torch.rand(identities * recipe.images, 3, *recipe.input, device=device)
        labels = torch.arange(identities, device=device).repeat_interleave(recipe.images)
        step(images, labels)  # pays for memory and kernels
        return _clock(lambda: step(images, labels), steps, device)

    identities = 2
    took = seconds(identities, 1)
    if took * recipe.identities / identities * (STEPS + 1) <= limit_s:
        steps = max(STEPS, math.ceil(LONG_S / (took * recipe.identities / identities)))
        identities, took = recipe.identities, seconds(recipe.identities, steps)
    batch = identities * recipe.images
    network.eval()
    images = torch.rand(batch, 3, *recipe.input, device=device)
    with torch.inference_mode(), autocast(precision, device):
        network(images)
        inferred = _clock(lambda: network(images), 1, device)
    return Speed(batch / took, batch / inferred, batch)


def _clock(work: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds a call, over some calls."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / times
