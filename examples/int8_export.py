"""Train one network, export it to int8 and see what that costs: here on the drawn pedestrians."""

import nas

data = {"generated": {"train_identities": 8, "test_identities": 8, "cameras": 2, "images": 2}}
recipe = {"extends": "quickstart", "input": [64, 32], "identities": 4, "images": 2}
trained = nas.train("resnet18(width=0.25)+se@3", data, recipe, epochs=2, out="network.pt")
made = nas.export("network.pt", "network.onnx", precision="int8", data=data, calibration=16)
print(made.sentence())
timed = {"backend": "onnxruntime", "batch": 1, "input": [64, 32], "batches": 20, "threads": 1}
fp32, int8 = (nas.measure("resnet18(width=0.25)+se@3", precision=kind, **timed) for kind in ("fp32", "int8"))
print(f"{fp32.median_ms:.2f} ms in fp32, {int8.median_ms:.2f} ms in int8, one thread of this machine")
