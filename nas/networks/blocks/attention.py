"""Softmax attention without scaling, as the non-local blocks use it: in tiles where that pays, else as written."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.networks.blocks.base import at_least_single, no_autocast

_TILES_PAY, _PADDED_TILES_PAY = 8, 16


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T) v: (B, L, d), (B, M, d), (B, M, e) to (B, L, e), no (L, M) matrix stored where tiles pay.

    PyTorch's tiled kernels for the CPU want d = e. Zeros appended to q and k change nothing and cost L M (e - d)
    multiplications. Tiles pay there from about M = 8e on, padded ones from 16e where gradients are wanted too (measured
    in `benchmarks/blocks.py`); below, the matrix is small. Written to ONNX by the tracing exporter, it is two products
    and a softmax: old operator sets know no other form; so it is in a deterministic training on a GPU.
    """
    if torch.onnx.is_in_onnx_export() or _must_repeat(value):
        return attend_plain(query, key, value)
    missing = value.shape[2] - query.shape[2]
    if value.device.type == "cpu" and not torch.compiler.is_exporting():
        least = _PADDED_TILES_PAY if missing and query.requires_grad else _TILES_PAY
        if key.shape[1] < least * value.shape[2]:
            return attend_plain(query, key, value)
        query, key = F.pad(query, (0, missing)), F.pad(key, (0, missing))
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]


def _must_repeat(value: Tensor) -> bool:
    """Whether gradients must come out equal to the bit on a GPU, where the tiled kernel adds them up in any order."""
    return value.is_cuda and torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled()


def attend_plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same with the whole (B, L, M) matrix; logits and softmax in fp32 at least."""
    with no_autocast(query):
        logits = at_least_single(query) @ at_least_single(key).transpose(1, 2)
        return (torch.softmax(logits, dim=-1) @ at_least_single(value)).to(value.dtype)
