"""ABD-Net's orthogonality regularisers: keep the eigenvalues of F F^T (features) or W W^T (weights) close together.

Exact eigenvalues of the smaller Gram matrix, not a power iteration: no state, no tolerance. That costs about as much
as a small layer on a CPU and more than the network itself on a GPU for the weights of a ResNet-50; both are off by
default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def spectral_spread(matrices: Tensor) -> Tensor:
    """lambda_max - lambda_min of M M^T for each M of (..., R, C); fp32 in, (...) out.

    With more rows than columns M M^T is singular, so lambda_min is 0 and the smaller M^T M has the rest.
    """
    rows, columns = matrices.shape[-2:]
    tall = rows > columns
    gram = matrices.mT @ matrices if tall else matrices @ matrices.mT
    eigenvalues: Tensor = torch.linalg.eigvalsh(gram)
    return eigenvalues[..., -1] if tall else eigenvalues[..., -1] - eigenvalues[..., 0]


def feature_orthogonality(feature_map: Tensor) -> Tensor:
    """Mean spread over the batch for a feature map (B, C, H, W), F being C x HW.

    Source: Chen et al. 2019 (ABD-Net), O.F.
    """
    return spectral_spread(feature_map.flatten(2)).mean()


def weight_orthogonality(network: nn.Module) -> Tensor:
    """Sum of the spreads of **every** convolution that is trained, W being (out) x (in * kernel).

    Source: Chen et al. 2019 (ABD-Net), O.W.; their released code reaches the stem convolution only.
    """
    spreads = [spectral_spread(conv.weight.float().flatten(1)) for conv in trained_convolutions(network)]
    return torch.stack(spreads).sum() if spreads else torch.zeros(())


def trained_convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """All convolutions of a network, grouped ones included, whose weights get gradients."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return [conv for conv in convolutions if conv.weight.requires_grad]
