"""Every name of TensorRT that is used, against what its Python bindings hold: 8.6, 10.16 and 11.4.

The table was read from the binding wheels themselves (names in their extension module): `tensorrt-bindings` 8.6.1,
`tensorrt-cu12-bindings` 10.16.1.11 and `tensorrt-cu13-bindings` 11.4.0.106. For 8.0 (JetPack 4.6), of which there is
no wheel, it follows NVIDIA's release notes: `set_memory_pool_limit` came with 8.4, tensors by name with 8.5.
"""

from __future__ import annotations

import ast
from pathlib import Path

import nas

PACKAGE = Path(nas.__file__).parent
ENGINES = PACKAGE / "latency" / "device_agent" / "engines.py"
EXPORT = PACKAGE / "networks" / "export" / "tensorrt_engine.py"

ALL = frozenset({"8.0", "8.6", "10.16", "11.4"})
SINCE_8_5 = ALL - {"8.0"}
NAMES: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ["Logger", "ERROR", "Builder", "Runtime", "OnnxParser", "NetworkDefinitionCreationFlag", "create_network"], ALL
    ),
    **dict.fromkeys(["parse_from_file", "parse", "get_error", "num_errors", "desc", "create_builder_config"], ALL),
    **dict.fromkeys(["BuilderFlag", "set_flag", "build_serialized_network", "deserialize_cuda_engine"], ALL),
    **dict.fromkeys(["create_execution_context", "nbytes", "create_optimization_profile", "set_shape"], ALL),
    "add_optimization_profile": ALL,
    **dict.fromkeys(["num_DLA_cores", "DLA_core", "default_device_type", "DeviceType", "DLA", "GPU_FALLBACK"], ALL),
    **dict.fromkeys(["can_run_on_DLA", "num_layers", "get_layer"], ALL),
    "EXPLICIT_BATCH": ALL - {"11.4"},
    "FP16": ALL - {"11.4"},
    "set_memory_pool_limit": SINCE_8_5,
    "max_workspace_size": frozenset({"8.0", "8.6"}),
    **dict.fromkeys(["num_io_tensors", "get_tensor_name", "get_tensor_shape", "get_tensor_dtype"], SINCE_8_5),
    **dict.fromkeys(["set_tensor_address", "set_input_shape", "execute_async_v3"], SINCE_8_5),
    **dict.fromkeys(
        ["num_bindings", "get_binding_shape", "get_binding_dtype", "execute_async_v2"], frozenset({"8.0", "8.6"})
    ),
    "device_memory_size": ALL - {"11.4"},
    "device_memory_size_v2": frozenset({"10.16", "11.4"}),
}
"""The versions that have a name."""
INSTEAD = {
    "num_io_tensors": "num_bindings",
    "get_tensor_name": None,  # bindings are numbered
    "get_tensor_shape": "get_binding_shape",
    "get_tensor_dtype": "get_binding_dtype",
    "set_tensor_address": None,  # their addresses are given with the batch
    "execute_async_v3": "execute_async_v2",
    "device_memory_size_v2": "device_memory_size",
    "set_memory_pool_limit": "max_workspace_size",
}
"""What is used where a name is missing; `engines` asks for `num_io_tensors` once, and for the others by `hasattr`."""
GUARDED = {"EXPLICIT_BATCH", "FP16", "set_memory_pool_limit", "device_memory_size_v2", "num_io_tensors"}


def used(module: Path) -> tuple[set[str], set[str]]:
    """Names of the table that a module uses as attributes, and those that it asks for first."""
    tree = ast.parse(module.read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    asked = {
        str(node.args[1].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("hasattr", "getattr")
        and isinstance(node.args[1], ast.Constant)
    }
    return attributes, asked


def test_every_name_that_is_used_is_in_the_table() -> None:
    """An attribute of an object of TensorRT that the table lacks is a call nobody has looked up."""
    own = {
        "_cuda",
        "stream",
        "value",
        "append",
        "join",
        "rpartition",
        "reduce",
        "mul",
        "allocate",
        "get",
        "synchronize",
        "dla_layers",
    }
    for node in ast.walk(ast.parse(ENGINES.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in ("TensorRTEngine", "_on_accelerator"):
            found = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            assert {name for name in found - own if not name.startswith("_")} - {"close"} <= set(NAMES)


def test_what_a_version_lacks_is_asked_for_first() -> None:
    attributes, asked = used(ENGINES)
    for name in attributes & set(NAMES):
        if NAMES[name] != ALL:
            other = INSTEAD.get(name)
            replaced = other is not None and NAMES[name] | NAMES[other] == ALL
            replacing = name in INSTEAD.values()
            assert name in GUARDED or replaced or replacing or name in ("get_tensor_name", "set_tensor_address"), name
    assert asked >= GUARDED


def test_engine_files_are_written_by_names_of_tensorrt_8_5_and_later() -> None:
    """They are for servers: of what 11 lacks they ask first."""
    attributes, asked = used(EXPORT)
    lacking = {name for name in attributes & set(NAMES) if not NAMES[name] >= SINCE_8_5}
    assert lacking <= asked
