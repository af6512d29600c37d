"""Static quantisation of an ONNX file to int8, by ONNX Runtime.

Weights are quantised channel by channel, activations by the range (minimum to maximum) they take on calibration images.
All operators that ONNX Runtime quantises are: convolutions and matrix products, and the sums, products, sigmoids and
softmaxes of blocks too. The graph keeps float32 input and output and states its integers as QDQ pairs, which other
runtimes read too. How fast it is, and on x86 processors without VNNI how exact, is a matter of the runtime.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.networks.export.metadata import INPUT_NAME
from nas.networks.export.program import quiet

CALIBRATION_IMAGES = 128
"""Images that ranges are read from: a few hundred at most are usual; more only widen the ranges by their extremes."""
CALIBRATION_BATCH = 16


def quantise(path: Path, images: Tensor, batch: int = CALIBRATION_BATCH) -> None:
    """Replaces an fp32 ONNX file by its int8 form; its metadata stay.

    Args:
        images: (N, 3, H, W) normalised images, float32, that the ranges of activations are read from.
        batch: images at a time; for a file with a fixed batch that one, of which N is a multiple.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    told = {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, quiet():
        ready, made = Path(folder) / "ready.onnx", Path(folder) / "made.onnx"
        quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(made),
            _Reader(torch.split(images, batch)),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
        model = onnx.load(str(made))
        onnx.helper.set_model_props(model, told)
        onnx.save(model, str(made))
        os.replace(made, path)


class _Reader:
    """What ONNX Runtime asks for batches; any object with `get_next` will do."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self._feeds: Iterator[Mapping[str, Any]] = ({INPUT_NAME: batch.numpy()} for batch in batches)

    def get_next(self) -> Mapping[str, Any] | None:
        """The next batch; None after the last."""
        return next(self._feeds, None)
