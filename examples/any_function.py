"""A study over any function: here the accuracy of a scikit-learn classifier whose layers follow the candidate."""

from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import nas

X, y = load_digits(return_X_y=True)


def score(candidate, seed):
    layers = [4 + site for site in candidate.sites] or [4]
    model = MLPClassifier(layers, max_iter=8, random_state=seed).fit(X[:800], y[:800])
    return {"accuracy": model.score(X[800:], y[800:]), "params": sum(w.size for w in model.coefs_)}


objective = nas.Objective(score, metrics=["accuracy"], costs=["params"])
stages = [{"sweep": {"candidates": 4, "seeds": 2}}, {"search": {"trainings": 4}}]
space = {"name": "layers", "backbones": ["resnet50"], "blocks": ["se"], "rules": [{"max_blocks": 2}]}
study = {"name": "digits", "space": space, "objective": objective, "cost": "params", "stages": stages}
print(nas.run(study, in_process=True, progress=False).answer().sentence)
