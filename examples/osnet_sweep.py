"""OSNet on handwriting, a character being an identity: one block at some of its sites, in a few minutes on a CPU."""

import nas

data = {"folders": "data/handwriting"}  # any set in Market-1501's layout
recipe = {"extends": "quickstart", "epochs": 1, "input": [48, 48]}
space = {"name": "osnet", "backbones": ["osnet_x0_25"], "sites": [3, 5], "blocks": ["se"], "rules": [{"max_blocks": 1}]}
latency = {"input": [48, 48], "time_budget_s": 0.05, "threads": 1, "reference": "osnet_x0_25"}
study = {"name": "handwriting", "space": space, "data": data, "recipe": recipe, "cost": "params", "select_on": "test"}
stages = [{"sweep": {"design": "exhaustive"}}]
found = nas.run({**study, "latency": latency, "stages": stages}, in_process=True, progress=False)
print(found.results()[["notation", "map", "params"]])
print(found.answer().sentence)
