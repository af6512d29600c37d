"""torch.export files (.pt2): PyTorch's own graph, loaded without this package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from nas.networks.export.deployed import DeployedNetwork
from nas.networks.export.onnx_file import quiet

METADATA_FILE = "metadata.json"


class ExportedProgramFile:
    """`FORMATS["torch-export"]`: free batch; metadata as the extra file `metadata.json`."""

    suffix = ".pt2"
    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16")

    def unavailable(self) -> str | None:
        """Part of PyTorch."""
        return None

    def write(self, network: DeployedNetwork, path: Path, metadata: Mapping[str, str]) -> None:
        """Writes the file."""
        with quiet():
            program = torch.export.export(
                network, (network.example(),), dynamic_shapes=({0: torch.export.Dim("batch")},)
            )
            torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(dict(metadata))})

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """The program as a function."""
        with quiet():
            module = torch.export.load(path).module()

        def run(images: Tensor) -> Tensor:
            with torch.no_grad():
                embedding: Tensor = module(images)
            return embedding

        return run

    def read_metadata(self, path: Path) -> dict[str, str]:
        """The content of `metadata.json`."""
        files = {METADATA_FILE: ""}
        with quiet():
            torch.export.load(path, extra_files=files)
        return {str(key): str(value) for key, value in json.loads(files[METADATA_FILE]).items()}
