"""Your own nn.Module around a candidate's network, trained in your own loop."""

import torch

import nas


def score(candidate, seed):
    network = nas.build_network(candidate, num_classes=4, input_size=(32, 16), seed=seed)
    module = torch.nn.Sequential(network.eval(), torch.nn.Linear(network.embedding_dim, 2))
    images, labels, optimiser = torch.randn(16, 3, 32, 16), torch.arange(16) % 2, torch.optim.SGD(module.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(images), labels).backward()
        optimiser.step()
    return {"map": float((module(images).argmax(1) == labels).float().mean())}


space = {"name": "tiny", "backbones": {"resnet18": {"width": 0.25}}, "sites": [3, 5], "blocks": ["se"]}
stages = [{"sweep": {"design": "exhaustive", "baselines": False}}]
study = {"name": "module", "space": space, "objective": score, "cost": "params", "stages": stages}
print(nas.run(study, in_process=True, progress=False).results()[["notation", "map", "params"]])
