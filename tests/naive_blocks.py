"""Every attention block once more, in NumPy and float64, written from the definitions with loops over nodes.

Slow on purpose: nothing here shares code or shape tricks with the modules it checks. Arrays are (B, C, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import nn

Array = np.ndarray


def value(tensor: object) -> Array:
    return tensor.detach().double().numpy()  # type: ignore[attr-defined]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def softmax(row: Array) -> Array:
    e = np.exp(row - row.max())
    return e / e.sum()


def mean_over_map(x: Array) -> Array:
    return x.sum(axis=(2, 3)) / (x.shape[2] * x.shape[3])


def mix(x: Array, layer: nn.Module) -> Array:
    """A 1x1 convolution or linear layer on axis 1."""
    weight = value(layer.weight).reshape(layer.weight.shape[0], layer.weight.shape[1])
    out = np.stack(
        [sum(weight[o, i] * x[:, i] for i in range(weight.shape[1])) for o in range(weight.shape[0])], axis=1
    )
    if layer.bias is not None:
        out = out + value(layer.bias).reshape(1, -1, *[1] * (x.ndim - 2))
    return out


def norm(x: Array, layer: nn.Module) -> Array:
    """Batch normalisation over all axes but 1."""
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        mean, var = x[:, c].mean(), x[:, c].var()
        if not layer.training:
            mean, var = value(layer.running_mean)[c], value(layer.running_var)[c]
        out[:, c] = (x[:, c] - mean) / math.sqrt(var + layer.eps) * value(layer.weight)[c] + value(layer.bias)[c]
    return out


def gated(x: Array, gate: Array) -> Array:
    return x * gate[:, :, None, None]


def se(block: nn.Module, x: Array) -> Array:
    return gated(x, sigmoid(mix(relu(mix(mean_over_map(x), block.squeeze)), block.excite)))


def hac(block: nn.Module, x: Array) -> Array:
    hidden = relu(norm(mix(mean_over_map(x), block.squeeze), block.squeeze_norm))
    return gated(x, sigmoid(relu(norm(mix(hidden, block.excite), block.excite_norm))))


def agw(block: nn.Module, x: Array) -> Array:
    b, _, h, w = x.shape
    n = h * w
    theta, phi, g = (mix(x, layer).reshape(b, -1, n) for layer in (block.theta, block.phi, block.value))
    y = np.zeros_like(g)
    for s in range(b):
        for i in range(n):
            for j in range(n):
                y[s, :, i] += (theta[s, :, i] @ phi[s, :, j]) / n * g[s, :, j]
    return x + norm(mix(y.reshape(b, -1, h, w), block.output), block.norm)


def cnl(block: nn.Module, x: Array) -> Array:
    d = block.width
    projected = mix(mean_over_map(x), block.query_key_value)
    q, k, v = projected[:, :d], projected[:, d : 2 * d], projected[:, 2 * d :]
    if block.query_key_norm is not None:
        both = norm(np.concatenate([q, k], axis=1), block.query_key_norm)
        q, k = both[:, :d], both[:, d:]
    y = np.empty_like(q)
    for s in range(len(x)):
        for i in range(d):
            row = q[s, i] * k[s]
            y[s, i] = (softmax(row) if block.norm == "softmax" else row / d) @ v[s]
    z = norm(mix(y, block.output), block.output_norm)[:, :, None, None]
    return {"gate": x * sigmoid(z), "gate2": 2 * sigmoid(z) * x, "add": x + z}[block.fuse]


def relation_gate(gate: nn.Module, features: Array) -> Array:
    """(B, F, M) to (B, M): each node's own feature and its relations to all others, both ways."""
    b, _, m = features.shape
    embedded = relu(norm(mix(features, gate.embed[0]), gate.embed[1]))
    d = embedded.shape[1] // 3
    theta, phi, own = embedded[:, :d], embedded[:, d : 2 * d], embedded[:, 2 * d :]
    stacked = np.empty((b, 2 * m, m))
    for s in range(b):
        for i in range(m):
            for j in range(m):
                affinity = theta[s, :, i] @ phi[s, :, j]
                stacked[s, j, i] = affinity  # G transposed
                stacked[s, m + i, j] = affinity  # G
    related = relu(norm(mix(stacked, gate.compare), gate.compare_norm))
    joint = np.concatenate([own.mean(axis=1, keepdims=True), related], axis=1)
    hidden = relu(norm(mix(joint, gate.hidden[0]), gate.hidden[1]))
    return norm(mix(hidden, gate.gate[0]), gate.gate[1])[:, 0]


def raga(block: nn.Module, x: Array) -> Array:
    b, c, h, w = x.shape
    if block.spatial is not None:
        gate = sigmoid(relation_gate(block.spatial, x.reshape(b, c, h * w)))
        x = x * gate.reshape(b, 1, h, w)
    if block.channel is not None:
        gate = sigmoid(relation_gate(block.channel, x.reshape(b, c, h * w).transpose(0, 2, 1)))
        x = x * gate.reshape(b, c, 1, 1)
    return x


def abd(block: nn.Module, x: Array) -> Array:
    out = x.copy()
    if block.positions is not None:
        out = out + value(block.positions.gamma) * position_attention(block.positions, x)
    if block.channels is not None:
        out = out + value(block.channels.gamma) * channel_attention(x)
    return out


def position_attention(layer: nn.Module, x: Array) -> Array:
    b, c, h, w = x.shape
    q, k, v = (mix(x, part).reshape(b, -1, h * w) for part in (layer.query, layer.key, layer.value))
    y = np.empty((b, c, h * w))
    for s in range(b):
        for i in range(h * w):
            weights = softmax(np.array([q[s, :, i] @ k[s, :, j] for j in range(h * w)]))
            y[s, :, i] = sum(weights[j] * v[s, :, j] for j in range(h * w))
    return y.reshape(b, c, h, w)


def channel_attention(x: Array) -> Array:
    b, c, h, w = x.shape
    rows = x.reshape(b, c, h * w)
    y = np.empty_like(rows)
    for s in range(b):
        for i in range(c):
            energy = np.array([rows[s, i] @ rows[s, j] for j in range(c)])
            weights = softmax(energy.max() - energy)
            y[s, i] = sum(weights[j] * rows[s, j] for j in range(c))
    return y.reshape(b, c, h, w)


def eca(block: nn.Module, x: Array) -> Array:
    pooled, weight = mean_over_map(x), value(block.layer.conv.weight).ravel()
    reach = len(weight) // 2
    padded = np.pad(pooled, ((0, 0), (reach, reach)))
    gate = np.stack([padded[:, i : i + len(weight)] @ weight for i in range(x.shape[1])], axis=1)
    return gated(x, sigmoid(gate))


def gc(block: nn.Module, x: Array) -> Array:
    layer = block.layer
    b, c, h, w = x.shape
    scores = mix(x, layer.conv_attn).reshape(b, h * w)
    context = np.stack([x[s].reshape(c, h * w) @ softmax(scores[s]) for s in range(b)])
    mlp = layer.mlp_scale if layer.mlp_scale is not None else layer.mlp_add
    hidden = mix(context, mlp.fc1)
    spread = np.sqrt(hidden.var(axis=1, keepdims=True) + mlp.norm.eps)
    hidden = (hidden - hidden.mean(axis=1, keepdims=True)) / spread * value(mlp.norm.weight) + value(mlp.norm.bias)
    out = mix(relu(hidden), mlp.fc2)
    return gated(x, sigmoid(out)) if layer.mlp_scale is not None else x + out[:, :, None, None]


def cbam(block: nn.Module, x: Array) -> Array:
    channel, spatial = block.layer.channel, block.layer.spatial
    by_mean, by_max = (mix(relu(mix(pooled, channel.fc1)), channel.fc2) for pooled in (mean_over_map(x), x.max((2, 3))))
    x = gated(x, sigmoid(by_mean + by_max))
    b, _, h, w = x.shape
    maps = np.pad(np.stack([x.mean(1), x.max(1)], axis=1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    weight = value(spatial.conv.conv.weight)[0]
    out = np.empty((b, 1, h, w))
    for i in range(h):
        for j in range(w):
            out[:, 0, i, j] = (maps[:, :, i : i + 7, j : j + 7] * weight).sum(axis=(1, 2, 3))
    return x * sigmoid(norm(out, spatial.conv.bn))


NAIVE: dict[str, Callable[[nn.Module, Array], Array]] = {
    "se": se,
    "hac": hac,
    "agw": agw,
    "raga": raga,
    "abd": abd,
    "cnl": cnl,
    "eca": eca,
    "gc": gc,
    "cbam": cbam,
}
