"""The shape of a feature map: what a site has and a block is built for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureShape:
    """Shape of the feature map at a site, without the batch."""

    channels: int
    height: int
    width: int

    @property
    def positions(self) -> int:
        """Number of spatial positions, N = H*W."""
        return self.height * self.width

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"
