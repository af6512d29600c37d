"""Maps are stored channels last, and nothing is written beyond its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from nas.networks import build_network
from nas.training.layout import channels_last

STEP = """
import torch
from torch import nn
from nas.training.layout import channels_last
torch.set_num_threads(1)
layer = nn.Conv2d(4, 8, 1, stride=2, bias=False)
channels_last(layer)
images = torch.randn(4, 4, 8, 4).to(memory_format=torch.channels_last)
for _ in range(3):
    layer(images).sum().backward()
"""


def test_nothing_is_written_beyond_its_memory() -> None:
    """Processes that trained a sixteenth of a ResNet-18's width died now and then, by SIGABRT or SIGSEGV."""
    checker = next(Path("/lib").glob("*/libc_malloc_debug.so.0"), None)
    told = {"MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1", "LD_PRELOAD": str(checker or "")}
    found = subprocess.run([sys.executable, "-c", STEP], env={**os.environ, **told}, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_only_narrow_strided_layers_keep_the_usual_layout() -> None:
    network = build_network("resnet18(width=0.0625)", input_size=(32, 16), seed=0)
    same = build_network("resnet18(width=0.0625)", input_size=(32, 16), seed=0)
    channels_last(network)
    images = torch.randn(4, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    met = [name for name, layer in network.named_modules() if layer._forward_pre_hooks]
    assert met == ["backbone.layer2.0.downsample.0", "backbone.layer3.0.downsample.0"]  # of 4 and 8 channels
    assert network.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    out = network.eval()(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(out, same.eval()(images))
