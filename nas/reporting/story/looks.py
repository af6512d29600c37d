"""Where the best network looks: Grad-CAM and what its blocks do, where they were asked for."""

from __future__ import annotations

from nas.reporting.document import Block, Paragraph, Picture, Section, words
from nas.reporting.study_data import StudyData

TEXT = (
    "Grad-CAM of the last map: what makes up the feature (or speaks for the likeliest identity) is coloured. Beside "
    "it, for each block, the factor by which it multiplies each position: white at the mean, red-brown above, blue "
    "below; the numbers are its range. A channel-wise block treats all positions nearly alike."
)


def looks(data: StudyData) -> Section | None:
    """Left out unless the report was asked for maps (`nas report --maps N`)."""
    if not data.maps:
        return None
    blocks: list[Block] = [Paragraph(TEXT)]
    blocks += [Picture(address, f"where {words(notation)} looks") for notation, address in data.maps.items()]
    return Section("looks", "Where the network looks", blocks)
