"""Good files with every kind of key, which the others damage."""

from __future__ import annotations

RICH_SPACE = """
name: rich
description: every kind of key and rule
backbones: {resnet18: {width: [0.25, 0.5], last_stride: 1}, mobilenet_v3_small: {}}
sites: {stages: [1, 2, 3], place: last}
blocks:
  cnl: {width: [full, half], fuse: [gate, add], zero_init: [auto, true]}
  se: {reduction: [4, 16]}
  hac: {}
recipe:
  loss: [ce, circle]
  base_lr: {log: [1.0e-5, 1.0e-2], points: 5}
rules:
  - sites: {block: cnl, sites: [4, 6, 8]}
  - forbid: {blocks: [se], sites: 1-3}
  - max_blocks: 3
  - min_blocks: {count: 1, block: cnl}
  - min_distance: 2
  - distinct_stages: true
    strength: preference
  - mix: {max_types: 2}
  - blocks: [cnl, se, hac]
  - stage_ends: {block: cnl}
    strength: preference
  - block_preference: {better: cnl, worse: hac}
    strength: preference
    backbone: resnet18
  - params: {block: cnl, param: fuse, values: [gate]}
  - cost: {placements: {se: [4, 8]}}
  - recipe_range: {key: base_lr, low: 1.0e-4, high: 1.0e-2}
"""
RULES_FILE = """
format: 1
provenance: {study: quickstart}
findings:
  - rule: {sites: {block: cnl, sites: [4, 6, 8]}}
    verdict: adopted
    reason: better
    evidence: {effect: 0.01, low: 0.001, high: 0.02, p: 0.01, p_adjusted: 0.03,
               trainings: 20, training_ids: [1, 2], method: permutation}
  - rule: {min_distance: 2, strength: preference}
    verdict: rejected
    reason: worse
    evidence: {effect: -0.01, low: -0.02, high: 0.0, p: 0.4, p_adjusted: 0.6,
               trainings: 8, training_ids: [], method: permutation}
"""
RECIPE_FILES = (
    """
extends: quickstart
epochs: 60
base_lr: 3.5e-4
loss: circle
triplet: {margin: 0.3}
milestones: [20, 40]
augmentation: {pad: 10}
""",
    """
extends: quickstart
weights: {resnet18: null}
head: {pcb: {parts: 2, features: 64}}
loss: cross_entropy+arcface+contrastive
arcface: {scale: 30, margin: 0.5}
contrastive: {margin: 0.3}
sampler: pk
precision: fp32
evaluate_every: 5
keep: best
clip_norm: 5.0
ema_decay: 0.999
distil: {teacher: [nowhere.pt], loss: [features, relations], weight: 0.5, temperature: 4}
""",
)
TIED_SPACE = """
name: tied
backbones: [resnet18, resnet34]
sites: [3, 4, 5]
blocks:
  cnl: {norm: [softmax, dot], fuse: [gate, add]}
  se: {reduction: {derived: channels / 64}}
  agw: {start: [identity]}
rules:
  - tie: [cnl.norm, cnl.fuse]
  - max_blocks: 2
  - sites: {block: se, sites: [3, 4]}
    backbone: resnet18
"""
RICH_STUDY = """
name: rich
title: keys that shipped studies lack
question: {words: "SE or C-NL?", compare: [se, cnl], by: site}
space: {name: few, backbones: [resnet18], blocks: [se, cnl], sites: [3], rules: [{max_blocks: 1}]}
objective: {table: ../table.csv, seconds: 0.0}
cost: latency_ms
more_costs: [params]
latency: {reference: resnet18, margin: 0.01, time_budget_s: 0.1}
seed: 7
device: cpu
max_attempts: 2
max_training_hours: 1.5
budget: {trainings: 50, hours: 2, failures: 3}
priority: 2
launcher:
  "on": local
  slurm: {partition: short, time: 1-00:30:00, setup: [module load python], options: {exclude: node7}}
  ray: {gpus: 0.5, resources: {arm: 1.0}}
stages:
  - sweep: {design: exhaustive, candidates: [resnet18+se@3], limits: {params: 26e6}, max_slowdown: 30}
  - search: {sampler: nsga3, trainings: 2, batch: 1, stagnation: 2}
  - confirm: {max_candidates: 2, seeds: 1, baselines: [resnet18]}
"""
CAMPAIGN_FILE = """
name: both
title: two studies in order
question: Which?
studies: [../good.yaml, ../other.yaml]
hours: 0.5
"""
