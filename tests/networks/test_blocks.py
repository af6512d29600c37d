"""Every block against its declaration: counts, formulas, definition, identity, gradients, shapes, precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from block_builders import SITE_SHAPES, case_id, cases, features, main_cases, make, randomised
from naive_blocks import NAIVE

from nas.errors import NasError, SpaceError, TrainingError
from nas.networks.blocks import BLOCK_CLASSES, FORMS, FeatureShape, get_block
from nas.networks.blocks.base import IdentityStart
from nas.networks.counting import count_cost, count_params
from nas.spaces.blocks import BLOCKS

ALL, MAIN = cases(), main_cases()

# blocks.md of the design: parameters at (C, N) = (256, 2048), (512, 512), (1024, 128), (2048, 128).
PUBLISHED = {
    ("se", ()): (8_464, 33_312, 132_160, 526_464),
    ("hac", ()): (9_008, 34_400, 134_336, 530_816),
    ("agw", (("inner", "one"),)): (1_795, 3_587, 7_171, 14_339),
    ("agw", ()): (132_224, 526_592, 2_101_760, 8_397_824),
    ("raga", (("mode", "s"),)): (1_082_178, 164_898, 398_154, 1_578_570),
    ("raga", (("mode", "c"),)): (1_590_994, 164_898, 270_754, 1_063_650),
    ("raga", ()): (2_673_172, 329_796, 668_908, 2_642_220),
    ("abd", (("mode", "pam"),)): (82_241, 328_321, 1_312_001, 5_245_441),
    ("abd", (("mode", "cam"),)): (1, 1, 1, 1),
    ("cnl", ()): (263_424, 1_051_136, 4_199_424, 16_787_456),
    ("cnl", (("width", "half"),)): (131_968, 526_080, 2_100_736, 8_395_776),
}


def test_every_declared_block_has_a_class_and_a_naive_form() -> None:
    assert list(BLOCK_CLASSES) == list(BLOCKS) == list(NAIVE)


@pytest.mark.parametrize(("name", "settings"), PUBLISHED, ids=str)
def test_published_parameter_counts(name: str, settings: tuple[tuple[str, Any], ...]) -> None:
    with torch.device("meta"):
        counts = tuple(count_params(make(name, shape, **dict(settings))) for shape in SITE_SHAPES[1:])
    assert counts == PUBLISHED[name, settings]


@pytest.mark.parametrize("shape", SITE_SHAPES, ids=str)
@pytest.mark.parametrize("name", BLOCKS)
def test_formulas_equal_counts(name: str, shape: FeatureShape) -> None:
    """At all five site shapes; every combination of hyperparameters at one of them."""
    block = get_block(name)
    for settings in (settings for case, settings in (ALL if shape == SITE_SHAPES[2] else MAIN) if case == name):
        for form in block.forms:
            with torch.device("meta"):
                built = block.build(shape, form=form, **settings).eval()
                cost = count_cost(built, torch.empty(1, shape.channels, shape.height, shape.width))
            assert block.params_formula(shape, **settings) == cost.params, settings
            assert block.macs_formula(shape, form=form, **settings) == cost.macs, (settings, form)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("name", "settings"), MAIN, ids=case_id)
def test_forward_is_the_definition(name: str, settings: dict[str, Any], training: bool) -> None:
    x = features()
    for form in FORMS:
        block = randomised(make(name, form=form, **settings)).double().train(training)
        with torch.no_grad():
            out = block(x.clone())
        np.testing.assert_allclose(out.numpy(), NAIVE[name](block, x.numpy()), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("name", "settings"), ALL, ids=case_id)
def test_identity_at_insertion_is_exact_where_promised(name: str, settings: dict[str, Any]) -> None:
    x = features(dtype=torch.float32)
    block = make(name, **settings).eval()
    with torch.no_grad():
        difference = (block(x) - x).abs().max().item()
    assert (difference == 0) == get_block(name).identity_at_insertion(**settings)


# A constant added to all keys does not move a softmax, so this bias has no gradient by definition; nor has a bias that
# the batch normalisation after it takes away.
WITHOUT_GRADIENT = {
    "abd": ("positions.key.bias",),
    "hac": ("squeeze.bias", "excite.bias"),
    "agw": ("output.bias",),
    "gc": ("layer.conv_attn.bias",),
}


@pytest.mark.parametrize(("name", "settings"), MAIN, ids=case_id)
def test_gradients_reach_every_parameter_after_the_first_steps(name: str, settings: dict[str, Any]) -> None:
    silent = set.intersection(*(parameters_without_gradient(name, settings, seed) for seed in range(2)))
    assert silent == set(WITHOUT_GRADIENT.get(name, ())) & set(dict(make(name, **settings).named_parameters()))


def parameters_without_gradient(name: str, settings: dict[str, Any], seed: int) -> set[str]:
    """Names of parameters whose gradient was 0 in each of the first steps (one seed can meet a dead ReLU)."""
    torch.manual_seed(seed)
    shape = FeatureShape(64, 8, 4)
    block = make(name, shape, **settings).double().train()
    optimiser = torch.optim.SGD(block.parameters(), lr=0.1)
    target = torch.randn(4, 64, 8, 4, dtype=torch.float64)
    reached: set[str] = set()
    for step in range(4):
        optimiser.zero_grad()
        (block(features(shape, 4, step)) - target).square().mean().backward()
        reached |= {k for k, p in block.named_parameters() if p.grad is not None and p.grad.abs().max() > 1e-12}
        optimiser.step()
    return {key for key, _ in block.named_parameters()} - reached


@pytest.mark.parametrize(("name", "settings"), MAIN, ids=case_id)
def test_one_image_and_odd_sizes(name: str, settings: dict[str, Any]) -> None:
    for shape in (FeatureShape(24, 7, 5), FeatureShape(17, 1, 1), FeatureShape(8, 3, 11)):
        x = features(shape, 1, dtype=torch.float32)
        out = make(name, shape, **settings).eval()(x)
        assert out.shape == x.shape
        assert torch.isfinite(out).all()


@pytest.mark.parametrize(("name", "settings"), MAIN, ids=case_id)
def test_other_sizes_run_unless_tied_to_one(name: str, settings: dict[str, Any]) -> None:
    block = make(name, FeatureShape(16, 8, 4), **settings).eval()
    other = features(FeatureShape(16, 6, 5), dtype=torch.float32)
    if get_block(name).tied_to_input_size(**settings):
        with pytest.raises(SpaceError, match=r"built for 16x8x4 feature maps cannot take 16x6x5"):
            block(other)
    else:
        assert block(other).shape == other.shape


@pytest.mark.parametrize("dtype", [pytest.param(torch.float16, marks=pytest.mark.slow), torch.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "settings"), [c for c in MAIN if "reduction" not in c[1]], ids=case_id)
def test_finite_under_autocast_at_2048_positions(name: str, settings: dict[str, Any], dtype: torch.dtype) -> None:
    shape = FeatureShape(64, 64, 32)
    block = make(name, shape, **settings).train()
    x = (features(shape, 2, dtype=torch.float32) * 8).requires_grad_()  # E of CAM is beyond fp16's range here
    with torch.autocast("cpu", dtype=dtype):
        out = block(x.to(dtype))
    out.float().square().mean().backward()
    assert torch.isfinite(out).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", ["hac", "cnl"])
def test_training_with_one_image_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(TrainingError, match="at least 2 images a batch"):
        make(name).train()(features(batch=1, dtype=torch.float32))


@pytest.mark.parametrize(("name", "settings"), MAIN, ids=case_id)
def test_channels_last_stays_channels_last(name: str, settings: dict[str, Any]) -> None:
    shape = FeatureShape(16, 8, 4)
    x = features(shape, dtype=torch.float32)
    block = randomised(make(name, shape, **settings)).eval()
    out = block(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(out, block(x), rtol=1e-4, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_wrong_input_is_one_sentence() -> None:
    with pytest.raises(SpaceError, match="did you mean 'cnl'"):
        get_block("cnll")
    with pytest.raises(SpaceError, match=r"inner of block 'agw' cannot be 3"):
        make("agw", inner=3)
    with pytest.raises(SpaceError, match="unknown form"):
        make("agw", form="quick")  # type: ignore[arg-type]
    with pytest.raises(NasError, match="no class 'Nothing'"):
        get_block("nas.networks.blocks:Nothing")
    with pytest.raises(NasError):
        get_block("nas.networks.shapes:FeatureShape")


STARTS = [
    (name, settings, start)
    for name, settings in MAIN
    for start in [choice for choice in BLOCKS[name].param("start").choices if choice != "published"]
    if not BLOCKS[name].is_identity(settings)
]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("name", "settings", "start"), STARTS, ids=case_id)
def test_every_block_has_a_form_that_is_the_identity_at_insertion_and_learns(
    name: str, settings: dict[str, Any], start: str, training: bool
) -> None:
    torch.manual_seed(0)
    x = features(dtype=torch.float32)
    block = make(name, **settings, start=start).train(training)
    assert get_block(name).identity_at_insertion(**settings, start=start)
    out = block(x)
    assert torch.equal(out, x)
    (out * torch.randn(x.shape)).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


@pytest.mark.parametrize(("name", "settings"), [(n, s) for n, s, start in STARTS if start == "identity"], ids=case_id)
def test_the_identity_form_is_the_published_block_once_its_share_is_one(name: str, settings: dict[str, Any]) -> None:
    x = features(dtype=torch.float32)
    block = make(name, **settings, start="identity").eval()
    assert isinstance(block, IdentityStart)
    randomised(block.block)
    torch.nn.init.ones_(block.share)
    with torch.no_grad():
        torch.testing.assert_close(block(x), block.block(x), rtol=1e-5, atol=1e-5)
    published = make(name, **settings)
    assert count_params(block) == count_params(published) + 1
    assert list(published.state_dict()) == [key.removeprefix("block.") for key in block.state_dict() if key != "share"]


@pytest.mark.parametrize("start", ["identity", "unit_gate"])
def test_blocks_that_are_the_identity_as_published_have_no_other_form(start: str) -> None:
    assert BLOCKS["abd"].complete({"start": "identity"}) == BLOCKS["abd"].complete({})
    assert BLOCKS["cnl"].complete({"fuse": "gate2", "start": "identity"}) == BLOCKS["cnl"].complete({"fuse": "gate2"})
    assert dict(BLOCKS["se"].complete({"start": start}))["start"] == start
    assert "start" not in dict(BLOCKS["se"].complete({"start": "published"}))
