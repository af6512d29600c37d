"""Builds the stand-in for the CUDA runtime and starts programs on it: real torch on `cuda:0` and `cuda:1`, no GPU.

torch's allocator, streams, graphs and autograd are the real ones; kernels do nothing, and every launch, copy and wait
is counted (`tests/gpu/standin`). It shows crashes, device mismatches, waits for the device, memory and the rules of
capture; it cannot show values, speed, cuDNN, cuSOLVER, Triton's kernels, NVML or TensorRT.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
import torch

SOURCES = Path(__file__).parent / "gpu" / "standin"
_SITE = Path(sysconfig.get_paths()["purelib"])
_HEADERS = next(iter(sorted(_SITE.glob("nvidia/cu*/include"))), _SITE / "nvidia" / "cu13" / "include")
_HEADERS_BESIDE = _SITE / "triton" / "backends" / "nvidia" / "include"  # crt/, which torch's wheels leave out


def missing() -> str | None:
    """Why the stand-in cannot be built here, or None when it can."""
    if shutil.which("g++") is None:
        return "the stand-in for CUDA needs a compiler: install g++ (`make system`)"
    if not (_HEADERS / "cuda.h").exists() or not _HEADERS_BESIDE.exists():
        return "the stand-in for CUDA needs the headers of a CUDA, which this build of torch does not bring"
    return None


def folder() -> Path:
    """The folder of the built libraries; built at first use, in some 15 s, and kept for the same sources and torch."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    content = (SOURCES / "runtime.cpp").read_bytes() + torch.__version__.encode() + Path(__file__).read_bytes()
    made = Path(tempfile.gettempdir()) / f"nas-standin-{os.getuid()}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=made.parent) as building:
            _build(Path(building))
            shutil.copytree(building, f"{made}.{os.getpid()}")
        try:
            os.rename(f"{made}.{os.getpid()}", made)
        except OSError:  # another process was faster
            shutil.rmtree(f"{made}.{os.getpid()}")
    return made


def _build(out: Path) -> None:
    headers = [f"-I{_HEADERS}", f"-I{_HEADERS_BESIDE}"]
    _compile(*headers, str(SOURCES / "runtime.cpp"), "-o", str(out / "libfakecuda.so"), "-ldl", "-lpthread")
    # torch's NVRTC part links the driver's functions; none of them is called.
    text = (_HEADERS / "cuda.h").read_text(errors="replace")
    names = set(re.findall(r"CUDAAPI\s+(cu\w+)\s*\(", text)) | set(re.findall(r"#define\s+(cu\w+)\s+cu\w+_v\d", text))
    names |= set(re.findall(r"#define\s+cu\w+\s+(cu\w+_v\d\w*)", text)) | {f"{name}_v2" for name in names}
    driver = out / "driver.cpp"
    driver.write_text('extern "C" {\n' + "".join(f"int {name}() {{ return 0; }}\n" for name in sorted(names)) + "}\n")
    _compile(str(driver), "-o", str(out / "libcuda.so.1"), "-Wl,-soname,libcuda.so.1")


def _compile(*arguments: str) -> None:
    subprocess.run(["g++", "-O1", "-shared", "-fPIC", *arguments], check=True, timeout=240)


def environment(*, devices: int = 2, **values: str) -> dict[str, str]:
    """The environment of a program on the stand-in; `FAKECUDA_MEMORY` and others as in `runtime.cpp`."""
    built, root = folder(), SOURCES.parents[2]
    paths = [str(root), str(SOURCES.parents[1]), str(SOURCES), os.environ.get("PYTHONPATH", "")]
    own = {
        "LD_LIBRARY_PATH": str(built),
        "LD_PRELOAD": str(built / "libfakecuda.so"),
        "FAKECUDA_DEVICES": str(devices),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OMP_NUM_THREADS": "1",
    }
    left = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return left | own | values


def python(*arguments: str, timeout: float = 240, **values: str) -> subprocess.CompletedProcess[str]:
    """Runs Python on the stand-in to its end; what it printed is in `stdout`."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**values),  # type: ignore[arg-type]
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )


def inside(file: Path, **values: str) -> None:
    """Runs the tests of a file on the stand-in; they fail as one, with what pytest said."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib"]
    found = python("-m", "pytest", *options, str(file), timeout=850, **values)
    assert found.returncode == 0, found.stdout[-6000:]
