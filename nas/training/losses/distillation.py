"""What a network learns from trained teachers of the same images: their logits, embeddings, or relations; in fp32.

With several teachers, logits are matched to their mean probabilities; features and relations are means over teachers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nas.training.losses.pairs import pairwise_euclidean


def distil_logits(logits: Tensor, taught: Sequence[Tensor], temperature: float = 4.0) -> Tensor:
    """Divergence of softened probabilities: T^2 mean_i sum_c q_ic (log q_ic - log p_ic), at temperature T.

    p are the student's probabilities of logits (B, C) / T, q the mean of the teachers' (B, C). T^2 keeps the size of
    the gradient when T changes. Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015.

    Of a head with parts, logits (B, parts, C): a teacher's probabilities are the mean of its parts', and every part of
    the student learns q.
    """
    wanted = torch.stack([_of_whole((one / temperature).softmax(dim=-1)) for one in taught]).mean(dim=0)
    own = (logits / temperature).log_softmax(dim=-1)
    if own.ndim == 3:
        wanted = wanted[:, None].expand_as(own)
    return functional.kl_div(own.flatten(0, -2), wanted.flatten(0, -2), reduction="batchmean") * temperature**2


def _of_whole(probabilities: Tensor) -> Tensor:
    return probabilities.mean(dim=1) if probabilities.ndim == 3 else probabilities


def distil_features(embeddings: Sequence[Tensor], taught: Sequence[Tensor]) -> Tensor:
    """Mean of 1 - cosine between the student's embeddings (B, D), mapped to each teacher's dimension, and that one's.

    Source: Romero et al., FitNets, ICLR 2015 (a learned map from student to teacher), on the embedding that is
    compared in retrieval, by its direction alone.
    """
    pairs = zip(embeddings, taught, strict=True)
    return torch.stack([1 - functional.cosine_similarity(own, wanted).mean() for own, wanted in pairs]).mean()


def distil_relations(embedding: Tensor, taught: Sequence[Tensor]) -> Tensor:
    """Smooth L1 between the distances of a batch's pairs, each divided by the mean distance of its own network.

    Needs no equal dimensions and no map. Source: Park et al., Relational Knowledge Distillation, CVPR 2019 (RKD-D).

    Args:
        embedding: (B, D) of the student, B of at least 2.
        taught: (B, E) of each teacher.
    """
    pairs = torch.triu_indices(len(embedding), len(embedding), 1, device=embedding.device)

    def relations(features: Tensor) -> Tensor:
        found = pairwise_euclidean(features)[pairs[0], pairs[1]]
        return found / found.mean()

    own = relations(embedding)
    return torch.stack([functional.smooth_l1_loss(own, relations(one)) for one in taught]).mean()
