"""Published, local and absent weights; what is said when there is no network, or a file does not fit."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from torchvision.models import ResNet18_Weights, resnet18

from nas.errors import SourceError, TrainingError
from nas.networks import build_network, find_weights, load_weights, require_weights
from nas.networks.backbones import build_backbone
from nas.networks.weights import cached_path, read_state, weight_names


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch"


@pytest.fixture
def offline(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return home


def test_offline_says_how_to_get_the_file_and_where_to_put_it(offline: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        find_weights("resnet50", "IMAGENET1K_V1")
    assert "IMAGENET1K_V1 of resnet50 are not on this machine and cannot be downloaded" in caught.value.message
    assert caught.value.hint is not None
    assert "resnet50-0676ba61.pth" in caught.value.hint
    assert str(offline / "hub" / "checkpoints") in caught.value.hint
    assert not list(offline.rglob("*.pth*"))


def test_published_weights_are_taken_from_the_cache(offline: Path) -> None:
    torch.manual_seed(0)
    published = resnet18()
    path = cached_path(ResNet18_Weights.IMAGENET1K_V1)
    path.parent.mkdir(parents=True)
    torch.save(published.state_dict(), path)
    network = build_network("resnet18+se@3", weights="IMAGENET1K_V1")
    assert torch.equal(network.backbone.layer4[1].conv2.weight, published.layer4[1].conv2.weight)
    assert find_weights("resnet18", "DEFAULT") == path


def test_a_download_arrives_whole_or_not_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = home / "source.pth"
    source.parent.mkdir(parents=True)
    torch.save(resnet18().state_dict(), source)
    size = source.stat().st_size

    class Response:
        def __init__(self, length: int) -> None:
            self.headers = {"Content-Length": str(length)}
            self.file = source.open("rb")

        def read(self, count: int) -> bytes:
            return self.file.read(count)

        def __enter__(self) -> Response:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: Response(size + 10))
    with pytest.raises(TrainingError, match="the connection ended"):
        find_weights("resnet18", "IMAGENET1K_V1")
    assert not list((home / "hub").rglob("*.pth*"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: Response(size))
    told: list[tuple[int, int]] = []
    found = find_weights("resnet18", "IMAGENET1K_V1", lambda done, total, what="": told.append((done, total)))
    assert found.read_bytes() == source.read_bytes()
    assert told[-1] == (size, size)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_a_local_file_with_or_without_wrapping(tmp_path: Path, wrap: Any) -> None:
    state = resnet18().state_dict()
    torch.save(wrap(state), tmp_path / "weights.pth")
    network = build_network("resnet18", weights=tmp_path / "weights.pth")
    assert torch.equal(network.backbone.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "mobilenet_v3_small"])
def test_files_of_the_other_backbones(tmp_path: Path, name: str) -> None:
    state = getattr(torchvision.models, name)(weights=None).state_dict()
    torch.save(state, tmp_path / "w.pth")
    found = build_network(name, weights=tmp_path / "w.pth").backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in found.items())


def test_a_safetensors_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    trunk = build_backbone("resnet18", width=0.25)
    save_file(trunk.state_dict(), tmp_path / "w.safetensors")
    other = build_backbone("resnet18", width=0.25)
    load_weights(other, tmp_path / "w.safetensors", backbone="resnet18")
    assert torch.equal(other.conv1.weight, trunk.conv1.weight)


def test_a_file_that_does_not_fit_names_what_differs(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        TrainingError, match=r"does not fit resnet18: conv1.weight is \(64, 3, 7, 7\) in the file, \(16"
    ):
        build_network("resnet18(width=0.25)", weights=tmp_path / "w.pth")
    with pytest.raises(TrainingError, match=r"does not fit resnet34: .* is missing in the file"):
        build_network("resnet34", weights=tmp_path / "w.pth")


def test_what_does_not_fit_is_seen_before_anything_starts(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "w.pth")
    assert require_weights("resnet18(last_stride=2)+se@3", tmp_path / "w.pth") == tmp_path / "w.pth"
    with pytest.raises(TrainingError, match=r"does not fit resnet18\(width=0.25\)") as caught:
        require_weights("resnet18(width=0.25)", tmp_path / "w.pth")
    assert caught.value.hint == "Published weights fit width 1 only."


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(TrainingError, match=r"weights file .*w\.pth cannot be read"):
        build_network("resnet18", weights=tmp_path / "w.pth")


def test_a_file_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save({"model": resnet18()}, tmp_path / "w.pth")
    with pytest.raises(TrainingError, match="cannot be read"):
        build_network("resnet18", weights=tmp_path / "w.pth")


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="did you mean 'IMAGENET1K_V2'"):
        find_weights("resnet50", "IMAGENET1K_V3")
    with pytest.raises(TrainingError, match="no weights file at"):
        find_weights("resnet50", tmp_path / "none.pth")
    with pytest.raises(TrainingError, match="weights of osnet_x1_0 have no names, and there is no file IMAGENET1K_V1"):
        find_weights("osnet_x1_0", "IMAGENET1K_V1")
    assert weight_names("resnet50") == ("IMAGENET1K_V1", "IMAGENET1K_V2")


def test_a_web_page_that_was_saved_as_weights_is_named_as_one(tmp_path: Path) -> None:
    for name in ("page.safetensors", "page.pth"):
        (tmp_path / name).write_text("<!DOCTYPE html><html>moved</html>")
        with pytest.raises(TrainingError, match=r"page\.\w+ is a web page, not weights"):
            read_state(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04broken", b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense"]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_files_are_one_kind_of_error_without_escape_codes(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(TrainingError) as caught:
        read_state(path)
    assert str(path) in caught.value.message
    assert "\x1b" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_file_that_needs_code_names_what_it_holds(tmp_path: Path) -> None:
    torch.save({"state_dict": resnet18().state_dict(), "made": Path("x")}, tmp_path / "a.pth.tar")
    with pytest.raises(TrainingError, match=r"holds an object of pathlib\.\w+, not tensors alone"):
        read_state(tmp_path / "a.pth.tar")


def test_a_flipped_byte_is_found_by_the_archive_s_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"conv1.weight": torch.ones(4000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"the checksum of .* is wrong"):
        read_state(path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.backbone.", "module._orig_mod.base."])
def test_prefixes_of_wrappers_are_taken_off_however_nested(tmp_path: Path, prefix: str) -> None:
    published = resnet18()
    torch.save({prefix + key: value for key, value in published.state_dict().items()}, tmp_path / "a.pth")
    trunk = build_backbone("resnet18", width=1.0, last_stride=2)
    load_weights(trunk, tmp_path / "a.pth", "resnet18")
    assert torch.equal(trunk.state_dict()["conv1.weight"], published.state_dict()["conv1.weight"])


@pytest.mark.parametrize(
    "keys", [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "state_dict"), ("state_dict", "ema")]
)
def test_a_file_of_two_networks_is_refused(keys: tuple[str, str], tmp_path: Path) -> None:
    """A network and its average, as training programs save them: one was taken without a word."""
    state = resnet18().state_dict()
    one, other = keys
    torch.save({one: state, other: {"module": state} if other == "ema" else state}, tmp_path / "w.pth")
    with pytest.raises(SourceError, match=rf"holds several networks: (state_dict|{one}), "):
        read_state(tmp_path / "w.pth")
    torch.save({one: state, "optimizer": {"state": {0: torch.zeros(2)}}, "ema": None}, tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth").keys() == state.keys()
