"""A candidate becomes a network: backbone, blocks at their sites, head.

The backbone's parameters keep their authors' names below `backbone.`, blocks live apart below `blocks.<site>.`: the
weights of a trained baseline load into any candidate on the same backbone. The backbone runs as it was written; what
the module before a site returns goes through the block there on its way. How weights are found and read is left to
`nas.networks.weights`, training to `nas.training`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.networks.backbones import build_backbone
from nas.networks.blocks import AttentionBlock, Form, get_block
from nas.networks.head import Head, ReidOutputs, make_head
from nas.networks.sites import BlockAfter, FoundSite
from nas.networks.survey import backbone_settings, survey
from nas.networks.weights import load_weights
from nas.spaces.candidate import Candidate, as_candidate


class ReidNetwork(nn.Module):
    """A re-identification network with attention blocks at some of its sites.

    In training mode `forward` returns `ReidOutputs`, in evaluation mode the embedding (B, D).

    Attributes:
        input_size: (height, width) that shapes were computed for; other sizes run too, unless a block refuses them.
        form: "fast" or "plain", of all blocks.
        backbone: trunk with its authors' parameter names.
        sites: of the backbone, with the shapes of their maps.
        pool: from the last feature map to (B, pooled_dim).
        bnneck: the head's neck, to (B, embedding_dim): the strong baseline's is batch normalisation with a frozen bias.
        pooled_dim, embedding_dim: P and D.
    """

    def __init__(
        self,
        candidate: Candidate,
        backbone: nn.Module,
        sites: tuple[FoundSite, ...],
        blocks: dict[int, AttentionBlock],
        *,
        input_size: tuple[int, int],
        num_classes: int | None,
        head: Head,
        form: Form,
    ) -> None:
        super().__init__()
        self.candidate, self.input_size, self.form = candidate, input_size, form
        self.pooled_dim, self.embedding_dim = head.pooled_dim, head.embedding_dim
        self.sites = sites
        self.backbone = backbone
        self.blocks = nn.ModuleDict({str(number): block for number, block in blocks.items()})
        self.pool, self.bnneck = head.pool, head.neck
        self.classifier = None if num_classes is None else head.classifier(num_classes)
        for number in blocks:
            place = backbone.get_submodule(sites[number - 1].path)
            place.register_forward_hook(BlockAfter(self.blocks, str(number)))

    def forward(self, images: Tensor) -> ReidOutputs | Tensor:
        """Normalised images (B, 3, H, W) to `ReidOutputs` (training) or embeddings (B, D) (evaluation)."""
        pooled = self.pool(self.feature_map(images))
        embedding: Tensor = self.bnneck(pooled)
        if not self.training:
            return embedding
        return ReidOutputs(pooled, embedding, None if self.classifier is None else self.classifier(embedding))

    def feature_map(self, images: Tensor) -> Tensor:
        """The last feature map, (B, C, h, w)."""
        features: Tensor = self.backbone(images)
        return features

    @property
    def num_classes(self) -> int | None:
        """Number of identities the classifier knows."""
        if self.classifier is None:
            return None
        weight: Any = self.classifier.weight
        return int(weight.shape[-2])


def build_network(
    candidate: Candidate | str,
    *,
    num_classes: int | None = None,
    input_size: tuple[int, int] = (256, 128),
    weights: str | Path | None = None,
    pooling: str = "gap",
    head: str = "bnneck",
    head_settings: Mapping[str, Any] | None = None,
    form: Form = "fast",
    seed: int | None = None,
) -> ReidNetwork:
    """Builds the network of a candidate.

    >>> build_network("resnet18(width=0.25)+se@9", seed=0).embedding_dim
    128

    Args:
        candidate: a candidate or its notation, e.g. `resnet50+cnl@6,8,14`.
        num_classes: identities of the training set; None builds no classifier.
        input_size: (height, width) of the images, in pixels.
        weights: a published name such as `IMAGENET1K_V1`, a file, or None for fresh weights.
        pooling: `gap` or `gem`.
        head: `bnneck`, `pcb`, `fc`, `plain`, or one's own (`nas.networks.Head`).
        head_settings: what that head takes, as `parts` of `pcb`.
        form: `fast` or `plain` form of the blocks.
        seed: makes the fresh weights reproducible. Backbone, each block and head draw from streams of their own, so
            candidates with the same seed share everything but the blocks.

    Raises:
        SpaceError: when the candidate cannot be built for this input size.
        TrainingError: when the weights cannot be found or do not fit.
    """
    candidate = as_candidate(candidate)
    found = survey(candidate.backbone, candidate.backbone_params, input_size)
    with _seeded(seed, 0):
        backbone = build_backbone(candidate.backbone, **backbone_settings(candidate.backbone_params))
    blocks = {}
    for placement in candidate.placements:
        with _seeded(seed, placement.site):
            shape = found.sites[placement.site - 1].shape
            blocks[placement.site] = get_block(placement.block).build(shape, form=form, **dict(placement.params))
    with _seeded(seed, -1):
        network = ReidNetwork(
            candidate,
            backbone,
            found.sites,
            blocks,
            input_size=input_size,
            num_classes=num_classes,
            head=make_head(head, found.out, pooling, head_settings),
            form=form,
        )
    if weights is not None:
        load_weights(network, weights)
    return network


@contextlib.contextmanager
def _seeded(seed: int | None, stream: int) -> Iterator[None]:
    """Draws from a stream of its own and leaves the caller's generators as they were; nothing for seed None."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed((seed * 1_000_003 + stream) % 2**63)
        yield
