"""ONNX files made to be timed: fixed batch, one input, one output, an operator set old runtimes read.

Written by PyTorch's tracing exporter because it targets the operator sets that a Jetson reads and keeps global pooling
one operator. Exports for use, with parity checks, are `nas.networks`'s.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from nas.errors import LatencyError
from nas.latency.device_agent.engines import open_engine
from nas.latency.protocol import INT8, OPSET, LatencyProtocol
from nas.latency.subject import Subject
from nas.latency.torch_side import sample_input, torch_dtype
from nas.networks.blocks.base import islands
from nas.networks.export import quantise

INPUT, OUTPUT = "images", "embeddings"


def export_onnx(subject: Subject, protocol: LatencyProtocol, path: Path) -> None:
    """Writes the network of a subject as ONNX, in the protocol's precision and operator set and for its batch.

    In int8 the ranges of activations are those of the timed batch of noise: they change numbers, not the work.

    Raises:
        LatencyError: when the network cannot be expressed in ONNX.
    """
    network = subject.make(protocol).to(dtype=torch_dtype(protocol.precision))
    images = sample_input(replace(protocol, channels_last=False))
    try:
        with warnings.catch_warnings(), torch.inference_mode(), islands(protocol.islands is not False):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (images,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=protocol.opset or OPSET,
                dynamo=False,
            )
        if protocol.precision == INT8:
            quantise(path, images, protocol.batch)
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise LatencyError(f"{subject.name} cannot be written as ONNX: {first}") from error


@contextlib.contextmanager
def exported(subject: Subject, protocol: LatencyProtocol, precision: str | None = None) -> Iterator[Path]:
    """The ONNX file of a subject in a temporary folder, deleted at the end of the `with` block."""
    with tempfile.TemporaryDirectory(prefix="nas-onnx-") as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(subject, replace(protocol, precision=precision or protocol.precision), path)
        yield path


class EngineSession:
    """A session on an engine of `nas.latency.device_agent`, from a file exported for it."""

    def __init__(self, subject: Subject, protocol: LatencyProtocol) -> None:
        with exported(subject, protocol) as path:
            try:
                self._engine = open_engine(str(path), protocol.to_dict())
            except Exception as error:  # the engines' own exceptions share no base class
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise LatencyError(f"{subject.name} does not run in {protocol.backend}: {first}") from error

    @property
    def dla_layers(self) -> str | None:
        """How many layers a board's accelerator takes; None without one."""
        found: str | None = getattr(self._engine, "dla_layers", None)
        return found

    def run(self) -> None:
        """One batch."""
        self._engine.run()

    def peak_memory_mb(self) -> float | None:
        """What the engine tells."""
        memory: float | None = self._engine.peak_memory_mb()
        return memory

    def close(self) -> None:
        """Frees the engine."""
        self._engine.close()
