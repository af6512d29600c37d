"""Training losses, one file each as a pure function, and the sum of them that a recipe asks for."""

from nas.training.losses.center import Centres, center_loss
from nas.training.losses.circle_softmax import circle_softmax
from nas.training.losses.contrastive import contrastive
from nas.training.losses.cross_entropy import cross_entropy
from nas.training.losses.distillation import distil_features, distil_logits, distil_relations
from nas.training.losses.margin_softmax import arcface, cosface
from nas.training.losses.orthogonality import feature_orthogonality, spectral_spread, weight_orthogonality
from nas.training.losses.pairwise_circle import pairwise_circle
from nas.training.losses.total import LossInputs, Taught, TotalLoss
from nas.training.losses.triplet import batch_hard_triplet
from nas.training.losses.weighted_triplet import weighted_triplet

__all__ = [
    "Centres",
    "LossInputs",
    "Taught",
    "TotalLoss",
    "arcface",
    "batch_hard_triplet",
    "center_loss",
    "circle_softmax",
    "contrastive",
    "cosface",
    "cross_entropy",
    "distil_features",
    "distil_logits",
    "distil_relations",
    "feature_orthogonality",
    "pairwise_circle",
    "spectral_spread",
    "weight_orthogonality",
    "weighted_triplet",
]
