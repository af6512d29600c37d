"""ExecuTorch programs (.pte): for phones and small boards, run by ExecuTorch's runtime through XNNPACK.

A program takes one image: with a free batch ExecuTorch 1.5.1 fixes the sizes of some tensors all the same, and then
refuses any batch but the one it was traced with. In int8 it is quantised by XNNPACK's rules: weights channel by
channel, activations over calibration images.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.networks.export.deployed import INT8, DeployedNetwork
from nas.networks.export.program import quantised, quiet, traced

METADATA = "metadata"
"""The method of a program that says what the file is: UTF-8 as a tensor of uint8."""


class ExecutorchFile:
    """`FORMATS["executorch"]`: one image at a time; metadata as a second method of the program."""

    suffix = ".pte"
    batch = 1
    precisions: tuple[str, ...] = ("fp32", INT8)

    def unavailable(self, precision: str) -> str | None:
        """Needs the packages of the extra `executorch`."""
        missing = [name for name in ("executorch", "torchao") if find_spec(name) is None]
        return f"{' and '.join(missing)} not installed; pip install 'nas-reid[executorch]'" if missing else None

    def write(
        self, network: DeployedNetwork, path: Path, metadata: Mapping[str, str], calibration: Tensor | None = None
    ) -> None:
        """Writes the file."""
        exir = importlib.import_module("executorch.exir")
        xnnpack = "executorch.backends.xnnpack"
        partitioner = importlib.import_module(f"{xnnpack}.partition.xnnpack_partitioner").XnnpackPartitioner()
        told = torch.tensor(list(json.dumps(dict(metadata)).encode()), dtype=torch.uint8)
        with quiet():
            program = traced(network, network, self.batch)
            if calibration is not None:
                rules = importlib.import_module(f"{xnnpack}.quantizer.xnnpack_quantizer")
                quantizer = rules.XNNPACKQuantizer().set_global(rules.get_symmetric_quantization_config())
                program = traced(quantised(program, quantizer, calibration, self.batch), network, self.batch)
            lowered = exir.to_edge_transform_and_lower(
                program, partitioner=[partitioner], constant_methods={METADATA: told}
            )
            path.write_bytes(lowered.to_executorch().buffer)

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """The program as a function, image by image."""
        method = _program(path).load_method("forward")

        def run(images: Tensor) -> Tensor:
            return torch.cat(
                [method.execute((image.contiguous(),))[0].clone() for image in torch.split(images, self.batch)]
            )

        return run

    def read_metadata(self, path: Path) -> dict[str, str]:
        """What the method `metadata` returns."""
        told: Tensor = _program(path).load_method(METADATA).execute(())[0]
        return {str(key): str(value) for key, value in json.loads(bytes(told.tolist())).items()}


def _program(path: Path) -> Any:
    return importlib.import_module("executorch.runtime").Runtime.get().load_program(path)
