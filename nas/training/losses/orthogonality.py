"""Spectral orthogonality: keep the eigenvalues of F F^T (features) or W W^T (weights) close together.

The regularisers are those of ABD-Net (Chen et al. 2019), in two named forms: `paper` is the spread as written there,
`released` has the strength of the authors' code, which at equal weights is another loss.
Exact eigenvalues of the smaller Gram matrix, not a power iteration: no state, no tolerance. That costs about as much
as a small layer on a CPU and more than the network itself on a GPU for the weights of a ResNet-50; both are off by
default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.training.settings import LossForm

_RELEASED_WEIGHT_FACTOR = 10.0
"""Factor of the squared spread in the authors' code of O.W."""


def spectral_spread(matrices: Tensor) -> Tensor:
    """lambda_max - lambda_min of M M^T for each M of (..., R, C); fp32 in, (...) out.

    With more rows than columns M M^T is singular, so lambda_min is 0 and the smaller M^T M has the rest.
    """
    rows, columns = matrices.shape[-2:]
    tall = rows > columns
    gram = matrices.mT @ matrices if tall else matrices @ matrices.mT
    eigenvalues: Tensor = torch.linalg.eigvalsh(gram)
    return eigenvalues[..., -1] if tall else eigenvalues[..., -1] - eigenvalues[..., 0]


def feature_orthogonality(feature_map: Tensor, form: LossForm = "paper") -> Tensor:
    """Spread for the final feature map (B, C, H, W), F being C x HW: mean over the batch, `released`: its sum.

    The authors' code also adds the term at more places of the network; here it is the final map in both forms.
    """
    spreads = spectral_spread(feature_map.flatten(2))
    return spreads.mean() if form == "paper" else spreads.sum()


def weight_orthogonality(network: nn.Module, form: LossForm = "paper") -> Tensor:
    """Sum over **every** convolution that is trained, W being (out) x (in * kernel), of its spread.

    `released`: of 10 spread^2. By a slip the authors' code reaches the stem convolution only; the strength is theirs
    here, the slip is not.
    """
    spreads = [spectral_spread(conv.weight.float().flatten(1)) for conv in trained_convolutions(network)]
    if not spreads:
        return next(network.parameters()).new_zeros(())
    found = torch.stack(spreads)
    return found.sum() if form == "paper" else _RELEASED_WEIGHT_FACTOR * found.square().sum()


def trained_convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """All convolutions of a network, grouped ones included, whose weights get gradients."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return [conv for conv in convolutions if conv.weight.requires_grad]
