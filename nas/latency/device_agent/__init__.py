"""What must run on any device: timing, statistics, machine readings, engines, and the agent of an exchange folder.

Standard library only, ONNX Runtime or TensorRT when used; `nas.latency.agent_file` makes one file of these modules
for a device without this package, for Python 3.6 and later (JetPack 4.6). The package itself measures with the same
lines, so that figures from a device and from here are made alike.
"""
