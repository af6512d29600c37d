"""The axis of sites that several figures share: numbers 1..n with the network's stages as bands."""

from __future__ import annotations

import plotly.graph_objects as go

from nas.reporting import style
from nas.reporting.notations import site_count, topology_of


def stage_spans(backbone: str) -> list[tuple[str, int, int]]:
    """(name, first site, last site) of the stem and every stage; empty for an unknown backbone."""
    topology = topology_of(backbone)
    if topology is None:
        return []
    spans: dict[int, list[int]] = {}
    for site in topology.sites:
        spans.setdefault(site.stage, []).append(site.number)
    return [("stem" if stage == 0 else f"stage {stage}", min(n), max(n)) for stage, n in spans.items()]


def add_site_axis(figure: go.Figure, backbone: str, *, bands: bool = True) -> None:
    """Numbers the sites on the x axis, with stage names above; stages are shaded in turn, or parted by thin lines."""
    sites = list(range(1, site_count(backbone) + 1))
    step = max(1, -(-len(sites) // 20))
    figure.update_xaxes(
        title_text="Position of the block (site)",
        tickmode="array",
        tickvals=sites[::step],
        range=[0.4, len(sites) + 0.6] if bands else [0.5, len(sites) + 0.5],
        showgrid=False,
    )
    figure.update_layout(legend={"y": 1.09}, margin={"t": 16 if bands else 28})
    for i, (name, first, last) in enumerate(stage_spans(backbone)):
        if bands and i % 2 == 1:
            figure.add_vrect(
                x0=first - 0.5, x1=last + 0.5, fillcolor=style.BAND, line_width=0, layer="below", opacity=1
            )
        elif not bands and last < len(sites):
            figure.add_vline(x=last + 0.5, line={"color": style.INK, "width": 1, "dash": "dot"}, opacity=0.4)
        place = {"x": (first + last) / 2, "y": 1, "yref": "paper", "yanchor": "bottom"}
        figure.add_annotation(**place, text=name, showarrow=False, font={"size": 11, "color": style.MUTED})


def add_level_line(figure: go.Figure, backbone: str, y: float, label: str, dash: str = "dash") -> None:
    """A horizontal line for a network without attention, named in the legend."""
    figure.add_trace(
        go.Scatter(
            x=[0.4, site_count(backbone) + 0.6],
            y=[y, y],
            mode="lines",
            line={"color": style.INK, "width": 1.4, "dash": dash},
            name=style.plain(label),
            hovertemplate="%{y:.4~f}<extra>%{fullData.name}</extra>",
        )
    )
