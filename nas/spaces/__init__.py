"""Design spaces: candidates, the rules they obey, and files in which a person states both.

Nothing here loads a network. Names are imported where they are first used, so `import nas.spaces` stays cheap.
"""

from nas.spaces.blocks import BLOCKS, BlockSpec, ParamSpec, block_names, get_block_spec
from nas.spaces.candidate import Candidate, Placement, as_candidate
from nas.spaces.sites import BACKBONES, Site, Topology, get_topology
from nas.spaces.values import ParamValue

__all__ = [
    "BACKBONES",
    "BLOCKS",
    "BlockSpec",
    "Candidate",
    "ParamSpec",
    "ParamValue",
    "Placement",
    "Site",
    "Topology",
    "as_candidate",
    "block_names",
    "get_block_spec",
    "get_topology",
]
