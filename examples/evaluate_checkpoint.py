"""Train one network, then evaluate the file on a set: here the drawn pedestrians."""

import nas

data = {"generated": {"train_identities": 8, "test_identities": 8, "cameras": 2, "images": 2}}
recipe = {
    "extends": "strong_baseline",
    "input": [64, 32],
    "identities": 4,
    "images": 2,
    "weights": "none",
    "keep": "last",
}
trained = nas.train("resnet18(width=0.25)+se@3", data, recipe, epochs=2, out="network.pt")
found = nas.evaluate("network.pt", data)
print(f"mAP {found.map:.4f}, rank-1 {found.rank1:.4f} on {found.metrics.valid_queries} queries")
