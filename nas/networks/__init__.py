"""Networks: backbones with sites, attention blocks, the re-identification head, their cost and their export.

`build_network` turns a candidate into a module; nothing above this floor is needed to build and run one.
"""

from nas.networks.blocks import AttentionBlock, FeatureShape, get_block
from nas.networks.complexity import Complexity, complexity
from nas.networks.folding import fold_batchnorm
from nas.networks.head import ReidOutputs
from nas.networks.insertion import Insertion, check_insertion
from nas.networks.network import ReidNetwork, build_network, replace_classifier
from nas.networks.weights import find_weights, load_weights, require_weights

__all__ = [
    "AttentionBlock",
    "Complexity",
    "FeatureShape",
    "Insertion",
    "ReidNetwork",
    "ReidOutputs",
    "build_network",
    "check_insertion",
    "complexity",
    "find_weights",
    "fold_batchnorm",
    "get_block",
    "load_weights",
    "replace_classifier",
    "require_weights",
]
