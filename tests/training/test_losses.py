"""Each loss against a loop that follows its definition, and against pytorch-metric-learning where it has the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import distances as pml_distances
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners as pml_miners
from pytorch_metric_learning import reducers as pml_reducers
from torch import Tensor, nn

from nas.training.losses import (
    Centres,
    LossInputs,
    TotalLoss,
    arcface,
    batch_hard_triplet,
    center_loss,
    circle_softmax,
    contrastive,
    cosface,
    cross_entropy,
    feature_orthogonality,
    pairwise_circle,
    spectral_spread,
    weight_orthogonality,
    weighted_triplet,
)
from nas.training.losses.orthogonality import trained_convolutions
from nas.training.recipe import Recipe


def pk_batch(p: int = 6, k: int = 4, dim: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features with some structure, P identities x K images, in random order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(p).repeat_interleave(k)[torch.randperm(p * k, generator=generator)]
    centres = torch.randn(p, dim, generator=generator)
    return centres[labels] + 0.8 * torch.randn(p * k, dim, generator=generator), labels


SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])


def euclidean(a: Tensor, b: Tensor) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def partners(labels: Tensor, anchor: int) -> tuple[list[int], list[int]]:
    same = [i for i in range(len(labels)) if i != anchor and labels[i] == labels[anchor]]
    return same, [i for i in range(len(labels)) if labels[i] != labels[anchor]]


# ---------------------------------------------------------------- cross entropy


def test_cross_entropy_is_the_eps_over_c_form() -> None:
    logits, labels = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 6, 2, 2])
    total = 0.0
    for row, label in zip(logits.double(), labels, strict=True):
        log_p = row - row.exp().sum().log()
        total -= sum(((0.9 if c == label else 0.0) + 0.1 / 7) * float(log_p[c]) for c in range(7))
    assert cross_entropy(logits, labels, 0.1).item() == pytest.approx(total / 5, rel=1e-6)


def test_cross_entropy_of_parts_is_the_sum_over_them() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5, 3, 7, generator=generator), torch.tensor([0, 3, 6, 2, 2])
    parts = sum(cross_entropy(logits[:, part], labels, 0.1) for part in range(3))
    torch.testing.assert_close(cross_entropy(logits, labels, 0.1), parts)


# ---------------------------------------------------------------- margins on cosines


def naive_margin(
    features: Tensor, weights: Tensor, labels: Tensor, scale: float, own: Callable[[float], float]
) -> float:
    """Cross entropy in loops; `own` makes the own class's logit from its angle."""
    total = 0.0
    for feature, label in zip(features, labels.tolist(), strict=True):
        angles = [math.acos(max(-1.0, min(1.0, cosine(feature, weight)))) for weight in weights]
        logits = [scale * (own(angle) if c == label else math.cos(angle)) for c, angle in enumerate(angles)]
        largest = max(logits)
        total += largest + math.log(sum(math.exp(value - largest) for value in logits)) - logits[label]
    return total / len(labels)


def arc(margin: float) -> Callable[[float], float]:
    return lambda t: math.cos(t + margin) if t + margin <= math.pi else math.cos(t) - margin * math.sin(margin)


@SEEDS
@pytest.mark.parametrize("margin", [0.0, 0.5, 2.5])
def test_arcface_is_the_loop_and_pytorch_metric_learnings(seed: int, margin: float) -> None:
    features, labels = pk_batch(seed=seed)
    weights = torch.randn(6, 16, generator=torch.Generator().manual_seed(seed))
    found = arcface(features, weights, labels, 16.0, margin).item()
    assert found == pytest.approx(naive_margin(features, weights, labels, 16.0, arc(margin)), rel=1e-5)
    theirs = pml_losses.ArcFaceLoss(6, 16, margin=math.degrees(margin), scale=16.0)
    theirs.W.data = weights.T.clone()
    assert found == pytest.approx(theirs(features, labels).item(), rel=1e-4)


@SEEDS
def test_cosface_is_the_loop_and_pytorch_metric_learnings(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    weights = torch.randn(6, 16, generator=torch.Generator().manual_seed(seed))
    found = cosface(features, weights, labels, 64.0, 0.35).item()
    assert found == pytest.approx(naive_margin(features, weights, labels, 64.0, lambda t: math.cos(t) - 0.35), rel=1e-5)
    theirs = pml_losses.CosFaceLoss(6, 16, margin=0.35, scale=64.0)
    theirs.W.data = weights.T.clone()
    assert found == pytest.approx(theirs(features, labels).item(), rel=1e-5)


def test_arcface_has_a_gradient_where_feature_and_class_agree() -> None:
    features = torch.eye(3, requires_grad=True)
    arcface(features, torch.eye(3), torch.arange(3)).backward()
    assert features.grad.isfinite().all()


# ---------------------------------------------------------------- contrastive


@SEEDS
def test_contrastive_is_the_loop(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    unit = torch.nn.functional.normalize(features, dim=1)
    together, apart = [], []
    for i in range(len(labels)):
        same, other = partners(labels, i)
        together += [euclidean(unit[i], unit[j]) ** 2 for j in same]
        apart += [max(0.0, 1.2 - euclidean(unit[i], unit[j])) ** 2 for j in other]
    expected = sum(together) / len(together) + sum(apart) / len(apart)
    assert contrastive(features, labels, 1.2).item() == pytest.approx(expected, rel=1e-5)


@SEEDS
def test_contrastive_pulls_as_pytorch_metric_learnings(seed: int) -> None:
    """Its positive part; theirs takes negative pairs' margin without a square."""
    features, labels = pk_batch(seed=seed)
    distance = pml_distances.LpDistance(power=2)
    theirs = pml_losses.ContrastiveLoss(
        pos_margin=0, neg_margin=0, distance=distance, reducer=pml_reducers.MeanReducer()
    )
    assert contrastive(features, labels, 1e-9).item() == pytest.approx(theirs(features, labels).item(), rel=1e-5)


def test_contrastive_of_one_identity_is_finite() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    contrastive(features, torch.zeros(4, dtype=torch.int64)).backward()
    assert features.grad.isfinite().all()


def test_margins_look_at_each_part_with_its_own_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    embedding, weight = torch.randn(4, 6, generator=generator), torch.randn(2, 5, 3, generator=generator)
    labels, classifier = torch.tensor([0, 1, 4, 4]), nn.Module()
    classifier.weight = nn.Parameter(weight)
    inputs = LossInputs(embedding, embedding, torch.zeros(4, 2, 5), labels, classifier, classifier)
    total, terms = TotalLoss(Recipe(loss="cosface"), 5, 6)(inputs)
    expected = cosface(embedding[:, :3], weight[0], labels) + cosface(embedding[:, 3:], weight[1], labels)
    torch.testing.assert_close(total, expected)
    assert set(terms) == {"cosface"}


# ---------------------------------------------------------------- triplet losses


def naive_triplet(features: Tensor, labels: Tensor, margin: float | None) -> float:
    losses = []
    for anchor in range(len(labels)):
        same, other = partners(labels, anchor)
        gap = max(euclidean(features[anchor], features[i]) for i in same)
        gap -= min(euclidean(features[anchor], features[i]) for i in other)
        losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    return sum(losses) / len(losses)


@SEEDS
def test_batch_hard_triplet_is_the_loop(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    assert batch_hard_triplet(features, labels, 0.3).item() == pytest.approx(
        naive_triplet(features, labels, 0.3), rel=1e-5
    )


@SEEDS
def test_soft_margin_triplet_is_the_loop(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    found = batch_hard_triplet(features, labels, soft_margin=True).item()
    assert found == pytest.approx(naive_triplet(features, labels, None), rel=1e-5)


@SEEDS
@pytest.mark.parametrize("soft", [False, True])
def test_batch_hard_triplet_is_pytorch_metric_learnings(seed: int, soft: bool) -> None:
    features, labels = pk_batch(seed=seed)
    distance = pml_distances.LpDistance(normalize_embeddings=False)
    mined = pml_miners.BatchHardMiner(distance=distance)(features, labels)
    loss = pml_losses.TripletMarginLoss(
        margin=0.0 if soft else 0.3, smooth_loss=soft, distance=distance, reducer=pml_reducers.MeanReducer()
    )
    expected = loss(features, labels, mined).item()
    assert batch_hard_triplet(features, labels, 0.3, soft_margin=soft).item() == pytest.approx(expected, rel=1e-5)


@SEEDS
def test_weighted_triplet_is_the_loop(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    losses = []
    for anchor in range(len(labels)):
        same, other = partners(labels, anchor)
        to_same = [euclidean(features[anchor], features[i]) for i in same]
        to_other = [euclidean(features[anchor], features[i]) for i in other]
        up, down = sum(map(math.exp, to_same)), sum(math.exp(-d) for d in to_other)
        gap = sum(math.exp(d) / up * d for d in to_same) - sum(math.exp(-d) / down * d for d in to_other)
        losses.append(math.log1p(math.exp(gap)))
    assert weighted_triplet(features, labels).item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def released_weighted_triplet(features: Tensor, labels: Tensor) -> float:
    """The authors' code as its text says it, in loops: zeros in the maximum, 1e-6 in the sum, itself a positive."""
    losses = []
    for anchor in range(len(labels)):
        means = []
        for sign, wanted in ((1.0, True), (-1.0, False)):
            rows = [i for i in range(len(labels)) if bool(labels[i] == labels[anchor]) is wanted]
            d = [euclidean(features[anchor], features[i]) for i in rows]
            largest = max([0.0, *(sign * value for value in d)])
            weights = [math.exp(sign * value - largest) for value in d]
            means.append(sum(w * v for w, v in zip(weights, d, strict=True)) / (sum(weights) + 1e-6))
        losses.append(math.log1p(math.exp(means[0] - means[1])))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_released_weighted_triplet_is_the_loop(scale: float) -> None:
    features, labels = pk_batch(seed=3)
    found = weighted_triplet(features * scale, labels, "released").item()
    assert found == pytest.approx(released_weighted_triplet(features * scale, labels), rel=1e-4)


def test_released_weighted_triplet_forgets_far_negatives() -> None:
    """Past a distance of about 15 its negatives weigh nothing; the paper's formula still pushes them away."""
    features, labels = torch.tensor([[0.0], [1.0], [30.0], [31.0]]), torch.tensor([0, 0, 1, 1])
    assert weighted_triplet(features, labels, "paper").item() == pytest.approx(0.0, abs=1e-6)
    assert weighted_triplet(features, labels, "released").item() > 1.0


# ---------------------------------------------------------------- circle losses


def naive_circle(features: Tensor, labels: Tensor, margin: float, gamma: float) -> float:
    losses = []
    for anchor in range(len(labels)):
        same, other = partners(labels, anchor)
        total_p = total_n = 0.0
        for i in same:
            s = cosine(features[anchor], features[i])
            total_p += math.exp(-gamma * max(0.0, 1 + margin - s) * (s - 1 + margin))
        for i in other:
            s = cosine(features[anchor], features[i])
            total_n += math.exp(gamma * max(0.0, s + margin) * (s - margin))
        losses.append(math.log1p(total_p * total_n))
    return sum(losses) / len(losses)


@SEEDS
def test_pairwise_circle_is_the_loop(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    assert pairwise_circle(features, labels, 0.25, 32.0).item() == pytest.approx(
        naive_circle(features, labels, 0.25, 32.0), rel=1e-5
    )


@SEEDS
def test_pairwise_circle_is_pytorch_metric_learnings_value_and_gradient(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    found = pairwise_circle(ours, labels, 0.25, 128.0)
    expected = pml_losses.CircleLoss(m=0.25, gamma=128)(theirs, labels)
    found.backward()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@SEEDS
def test_circle_softmax_is_the_loop(seed: int) -> None:
    features, labels = pk_batch(seed=seed)
    weights = torch.randn(6, 16, generator=torch.Generator().manual_seed(seed + 10))
    losses = []
    for row, label in zip(features, labels.tolist(), strict=True):
        logits = []
        for c in range(6):
            s = cosine(row, weights[c])
            own, other = max(0.0, 1.35 - s) * (s - 0.65), max(0.0, s + 0.35) * (s - 0.35)
            logits.append(64.0 * (own if c == label else other))
        highest = max(logits)
        losses.append(highest + math.log(sum(math.exp(v - highest) for v in logits)) - logits[label])
    found = circle_softmax(features, weights, labels, 64.0, 0.35).item()
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-4)


# ---------------------------------------------------------------- all metric losses

METRIC_LOSSES = pytest.mark.parametrize("loss", [batch_hard_triplet, weighted_triplet, pairwise_circle])


@METRIC_LOSSES
def test_anchors_without_partners_do_not_count(loss) -> None:
    """An identity with one image is a negative for the others and no anchor itself."""
    features, labels = pk_batch()
    features, labels = torch.cat([features, torch.randn(1, 16)]), torch.cat([labels, torch.tensor([99])])
    # With everybody else made a stranger, only the anchors of one identity are left: the mean over them alone.
    means = []
    for identity in range(6):
        alone = torch.where(labels == identity, labels, 1000 + torch.arange(len(labels)))
        means.append(loss(features, alone).item())
    assert loss(features, labels).item() == pytest.approx(sum(means) / 6, rel=1e-5)


@METRIC_LOSSES
def test_identical_features_give_finite_gradients(loss) -> None:
    features = torch.ones(8, 4, requires_grad=True)
    loss(features, torch.arange(4).repeat_interleave(2)).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@METRIC_LOSSES
def test_a_batch_without_pairs_is_zero_and_trainable(loss) -> None:
    features = torch.randn(4, 3, requires_grad=True)
    value = loss(features, torch.zeros(4, dtype=torch.long))
    value.backward()
    assert value.item() == 0.0
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("loss", [batch_hard_triplet, weighted_triplet])
def test_gradient_is_that_of_the_definition(loss) -> None:
    """Not for the circle losses: their weighting factors have no gradient by definition."""
    features, labels = pk_batch(p=3, k=3, dim=4)
    inputs = features.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: loss(f, labels), (inputs,), atol=1e-6)


# ---------------------------------------------------------------- center loss


def test_center_loss_is_the_loop() -> None:
    features, labels = pk_batch()
    centres = torch.randn(6, 16)
    total = sum(euclidean(f, centres[c]) ** 2 for f, c in zip(features, labels.tolist(), strict=True))
    assert center_loss(features, labels, centres).item() == pytest.approx(total / len(labels), rel=1e-5)


def test_one_16_by_4_step_moves_a_centre_6_25_percent_to_its_batch_mean() -> None:
    features, labels = pk_batch(16, 4)
    centres = Centres(20, 16, torch.Generator().manual_seed(0))
    before = centres.weight.detach().clone()
    (5e-4 * center_loss(features, labels, centres.weight)).backward()
    centres.divide_gradient(5e-4)
    torch.optim.SGD([centres.weight], lr=0.5).step()
    for identity in range(16):
        mean = features[labels == identity].mean(dim=0)
        torch.testing.assert_close(centres.weight[identity], before[identity] + 0.0625 * (mean - before[identity]))
    torch.testing.assert_close(centres.weight[16:], before[16:], rtol=0, atol=0)


# ---------------------------------------------------------------- orthogonality


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (6, 6)])
def test_spectral_spread_is_that_of_m_m_transposed(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = torch.linalg.eigvalsh(matrix @ matrix.T)
    assert spectral_spread(matrix).item() == pytest.approx((values[-1] - values[0]).item(), rel=1e-9)


def test_feature_orthogonality_is_the_mean_over_images() -> None:
    maps = torch.randn(3, 6, 4, 2, generator=torch.Generator().manual_seed(2))
    expected = sum(spectral_spread(m.reshape(6, 8)).item() for m in maps) / 3
    assert feature_orthogonality(maps).item() == pytest.approx(expected, rel=1e-5)


def test_released_orthogonality_has_the_strength_of_the_authors_code() -> None:
    maps = torch.randn(32, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    assert feature_orthogonality(maps, "released").item() == pytest.approx(
        32 * feature_orthogonality(maps).item(), rel=1e-5
    )
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    spreads = [spectral_spread(conv.weight.flatten(1)).item() for conv in network]
    expected = sum(10 * spread**2 for spread in spreads)
    assert weight_orthogonality(network, "released").item() == pytest.approx(expected, rel=1e-5)


def test_weight_orthogonality_reaches_every_convolution() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=2)), nn.Linear(3, 3)
    )
    weight_orthogonality(network).backward()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert trained_convolutions(network) == convolutions
    for conv in convolutions:
        assert conv.weight.grad is not None
        assert conv.weight.grad.abs().sum() > 0
    matrices = [c.weight.detach().reshape(c.weight.shape[0], -1) for c in convolutions]
    expected = sum(spectral_spread(m).item() for m in matrices)
    assert weight_orthogonality(network).item() == pytest.approx(expected, rel=1e-5)


def test_weight_orthogonality_leaves_frozen_convolutions_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    network[0].requires_grad_(False)
    assert trained_convolutions(network) == [network[1]]
