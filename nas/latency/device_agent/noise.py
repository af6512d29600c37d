"""Weights made on the device, so that they need not travel."""

from __future__ import annotations

import os
import random
import re
import struct

from nas.latency.device_agent.engines import EngineError

NOISE_FILE = "noise.bin"
LARGEST_NOISE = 8 << 30  # bytes; a network of two thousand million weights in single precision


def noise_file(folder: str, parts: str) -> str:
    """Writes the file of noise weights a network refers to; returns its path.

    A latency does not depend on the values of weights, so they need not travel. Every weight has a part of the file
    to itself, as it would have memory to itself: weights that share memory would share caches too.

    Args:
        parts: the kind of numbers, then `EXPONENT:BYTES` for each weight in order, such as `f32 -4:36864 -6:4096`:
            normal numbers with standard deviation 2**EXPONENT.
    """
    if not re.match(r"(f32|f16)( -?\d{1,2}:\d{1,10})+$", parts):
        raise EngineError("the job describes its weights in a way this agent does not know")
    kind, *listed = parts.split(" ")
    code = {"f32": "f", "f16": "e"}[kind]
    if sum(int(part.partition(":")[2]) for part in listed) > LARGEST_NOISE:
        raise EngineError("the job asks for more than 8 GiB of weights")
    random_, blocks, path = random.Random(0), {}, os.path.join(folder, NOISE_FILE)
    unit = [random_.gauss(0.0, 1.0) for _ in range(65536)]
    with open(path, "wb") as file:
        for exponent, size in (map(int, part.split(":")) for part in listed):
            if exponent not in blocks:
                blocks[exponent] = struct.pack("<65536" + code, *[value * 2.0**exponent for value in unit])
            whole, rest = divmod(size, len(blocks[exponent]))
            for _ in range(whole):
                file.write(blocks[exponent])
            file.write(blocks[exponent][:rest])
    return path
