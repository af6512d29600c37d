"""Your own nn.Module as a backbone: its sites are found, blocks are swept over them, in your own loop."""

from torch import nn

import nas


class Trunk(nn.Sequential):
    """Three convolutions, each with its activation; (B, 3, H, W) to (B, 32, H/8, W/8)."""

    def __init__(self):
        super().__init__(*(nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.ReLU()) for i, o in ((3, 8), (8, 16), (16, 32))))


name = f"{__name__}:Trunk"
for site in nas.find_sites(Trunk()):
    print(site.number, site.path, site.shape)
space = {"name": "own", "backbones": {name: {"last_stride": 2}}, "blocks": ["se"], "rules": [{"max_blocks": 1}]}
for candidate in nas.DesignSpace.from_dict(space).enumerate():
    print(candidate, sum(p.numel() for p in nas.build_network(candidate, input_size=(64, 32)).parameters()))
