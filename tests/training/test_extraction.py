"""Features: normalised, in order, the same through every door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.augment import Augmentation, BatchAugmenter
from nas.data.prepared import PreparedData
from nas.errors import DataError, TrainingError
from nas.retrieval import evaluate
from nas.training import FeatureExtractor, score
from nas.training.checkpoints import network_from_checkpoint
from nas.training.extraction import embed_split
from nas.training.failures import Diverged
from nas.training.recipe import Recipe
from nas.training.run import train
from nas.training.scoring import embed, score_embeddings

CANDIDATE = "resnet18(width=0.25)+agw@5"


@pytest.fixture(scope="module")
def checkpoint(data: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = Recipe(weights=None, input=(32, 16), epochs=1, identities=4, precision="fp32")
    path = tmp_path_factory.mktemp("extraction") / "a.pt"
    train(CANDIDATE, recipe, data, seed=1, checkpoint=path)
    return path


def test_embeddings_are_the_networks_normalised_outputs(checkpoint: Path, data: PreparedData) -> None:
    network = network_from_checkpoint(checkpoint)
    found = embed_split(network, data.query, Augmentation(), batch=7)
    images = BatchAugmenter(Augmentation(), data.size).normalise(data.query.images)
    with torch.no_grad():
        raw = network(images)
    torch.testing.assert_close(found, raw / raw.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)
    assert found.dtype == torch.float32


def test_the_flip_test_is_the_mean_of_an_image_and_its_mirror_image(checkpoint: Path, data: PreparedData) -> None:
    network = network_from_checkpoint(checkpoint)
    plain, found = (embed_split(network, data.query, Augmentation(), flip=flip) for flip in (False, True))
    images = BatchAugmenter(Augmentation(), data.size).normalise(data.query.images)
    mirrored = images[..., torch.arange(images.shape[-1] - 1, -1, -1)]
    with torch.no_grad():
        mean = (network(images) + network(mirrored)) / 2
    torch.testing.assert_close(found, mean / mean.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_embedding_leaves_the_network_as_it_was(checkpoint: Path, data: PreparedData) -> None:
    network = network_from_checkpoint(checkpoint).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    embed_split(network, data.query, Augmentation())
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_score_is_the_protocol_on_the_embeddings(checkpoint: Path, data: PreparedData) -> None:
    network = network_from_checkpoint(checkpoint)
    q, g = (embed_split(network, split, Augmentation()) for split in (data.query, data.gallery))
    expected = evaluate(q, data.query.identities, data.query.cameras, g, data.gallery.identities, data.gallery.cameras)
    assert score(network, data, Recipe(weights=None)).map == expected.map
    embeddings = embed(network, data, Recipe().augmentation)
    assert "rerank" in score_embeddings(embeddings, data, rerank=True).protocol.replace("-", "")


def test_a_network_with_broken_weights_has_diverged(checkpoint: Path, data: PreparedData) -> None:
    network = network_from_checkpoint(checkpoint)
    network.backbone.get_submodule("conv1").weight.data.fill_(torch.nan)  # type: ignore[operator, union-attr]
    with pytest.raises(Diverged, match="not finite"):
        score(network, data, Recipe(weights=None))


def test_paths_arrays_and_pil_images_give_the_same_features(
    checkpoint: Path, data: PreparedData, tmp_path: Path
) -> None:
    arrays = [data.query.images[i].permute(1, 2, 0).numpy() for i in range(5)]
    pictures = [Image.fromarray(array) for array in arrays]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    extractor = FeatureExtractor(checkpoint, batch=2)
    expected = embed_split(network_from_checkpoint(checkpoint), data.query, Augmentation())[:5].numpy()
    for images in (arrays, pictures, paths, [str(paths[0]), arrays[1], pictures[2], paths[3], arrays[4]]):
        features = extractor(images)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected, atol=1e-5)
    assert (extractor.dim, extractor.size) == (128, (32, 16))


def test_other_sizes_are_resized(checkpoint: Path) -> None:
    big = np.random.default_rng(0).integers(0, 255, (90, 41, 3)).astype(np.uint8)
    small = np.asarray(Image.fromarray(big).resize((16, 32), Image.Resampling.BILINEAR))
    extractor = FeatureExtractor(checkpoint)
    np.testing.assert_allclose(extractor([big]), extractor([small]), atol=1e-6)


def test_no_images_give_no_features(checkpoint: Path) -> None:
    assert FeatureExtractor(checkpoint)([]).shape == (0, 128)


def test_what_is_no_image_is_named(checkpoint: Path, tmp_path: Path) -> None:
    extractor = FeatureExtractor(checkpoint)
    (tmp_path / "bad.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"bad\.jpg"):
        extractor([tmp_path / "bad.jpg"])
    with pytest.raises(DataError, match="uint8"):
        extractor([np.zeros((4, 4, 3))])
    with pytest.raises(DataError, match="not int"):
        extractor([3])
    with pytest.raises(TrainingError, match="no checkpoint"):
        FeatureExtractor(tmp_path / "none.pt")
