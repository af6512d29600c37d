"""Every training as an MLflow run, read back with MLflow's own client."""

import os

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # a folder, where no server is
import mlflow

import nas

space = {"name": "small", "backbones": ["resnet50"], "blocks": ["se"], "rules": [{"max_blocks": 1}]}
objective = nas.Objective(lambda candidate: {"map": 0.8, "latency_ms": 37.0}, costs=["latency_ms"])
study = {"name": "tracked", "space": space, "objective": objective, "stages": [{"sweep": {"candidates": 3}}]}
nas.run(study, in_process=True, progress=False, callbacks=[nas.MLflow("file:mlruns")])
client = mlflow.MlflowClient("file:mlruns")
runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
print(len(runs), "runs, the last of", runs[0].data.params["candidate"])
