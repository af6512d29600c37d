"""A network of timm's: where its blocks may stand, and a sweep over some of these sites on generated pictures."""

import nas
from nas.spaces import get_topology

backbone = "timm:mobilenetv4_conv_small_035"
print([f"{site.number} after {site.after}" for site in get_topology(backbone).sites])
people = {"train_identities": 8, "test_identities": 4, "images": 2}
recipe = {"extends": "quickstart", "epochs": 1, "identities": 4, "images": 2}
space = {"name": "mobile", "backbones": [backbone], "sites": [5, 11], "blocks": ["se"], "rules": [{"max_blocks": 1}]}
study = {"name": "timm", "space": space, "data": {"generated": people}, "recipe": recipe, "cost": "params"}
latency = {"input": [64, 32], "time_budget_s": 0.05, "threads": 1, "reference": backbone}
stages = [{"sweep": {"design": "exhaustive"}}]
found = nas.run({**study, "select_on": "test", "latency": latency, "stages": stages}, in_process=True, progress=False)
print(found.results()[["notation", "map", "params"]])
