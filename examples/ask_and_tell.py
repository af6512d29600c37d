"""The loop is yours: ask what to train, tell what came of it."""

import nas

space = nas.DesignSpace(name="small", backbones=["resnet50"], blocks=["cnl", "se"], rules=[{"max_blocks": 2}])
objective = nas.Objective(None, costs=["latency_ms"])
stages = [{"sweep": {"candidates": 8, "seeds": 2}}, {"search": {"trainings": 8}}]
study = nas.Study.create({"name": "asked", "space": space, "objective": objective, "stages": stages})
while trial := study.ask():
    good = len({6, 8, 14} & set(trial.candidate.sites))  # here your training would stand
    study.tell(trial, {"map": 0.8 + 0.01 * good + 0.001 * trial.seed, "latency_ms": 37 + len(trial.candidate.sites)})
print(study.front()[["notation", "map_mean", "latency_ms"]])
