"""Colours that everybody can tell apart, on both surfaces; labels that cannot become markup."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from nas.reporting import style
from nas.reporting.figures import FIGURES
from nas.reporting.study_data import StudyData

# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency (2009).
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
COLOURS = style.BLOCK_COLOURS | {"mixed": style.MIXED_COLOUR}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a: str, b: str) -> float:
    light = sorted(float(np.dot([0.2126, 0.7152, 0.0722], linear(c))) for c in (a, b))
    return (light[1] + 0.05) / (light[0] + 0.05)


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """The difference of two CIELAB colours (Sharma, Wu, Dalal 2005: The CIEDE2000 Color-Difference Formula)."""
    mean_chroma = (np.hypot(*one[1:]) + np.hypot(*other[1:])) / 2
    g = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25**7))
    (l1, a1, b1), (l2, a2, b2) = one, other
    c1, c2 = np.hypot(g * a1, b1), np.hypot(g * a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, g * a1)) % 360, np.degrees(np.arctan2(b2, g * a2)) % 360
    dh = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue, light, chroma = (h1 + dh / 2) % 360, (l1 + l2) / 2, (c1 + c2) / 2
    cosines = [np.cos(np.radians(n * hue + at)) for n, at in ((1, -30), (2, 0), (3, 6), (4, -63))]
    t = 1 + np.dot([-0.17, 0.24, 0.32, -0.20], cosines)
    parts = np.array(
        [
            (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)),
            (c2 - c1) / (1 + 0.045 * chroma),
            2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh / 2)) / (1 + 0.015 * chroma * t),
        ]
    )
    turn = 2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return float(np.sqrt(parts @ parts - turn * parts[1] * parts[2]))


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
        ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ],
)
def test_the_difference_of_colours_is_the_published_one(
    one: list[float], other: list[float], difference: float
) -> None:
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(difference, abs=1e-4)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_block_colours_stay_apart_for_colour_blind_readers(deficiency: str) -> None:
    matrix = np.array(DEFICIENCIES[deficiency])
    own = dict(enumerate(style.OWN_BLOCK_COLOURS))
    seen = {name: lab(matrix @ linear(colour)) for name, colour in (COLOURS | own).items()}
    for a, b in itertools.combinations(seen, 2):
        assert ciede2000(seen[a], seen[b]) >= 10, (a, b)


@pytest.mark.parametrize("surface", [style.SURFACE, style.DARK[style.SURFACE]])
@pytest.mark.parametrize("colour", [*COLOURS.values(), *style.OWN_BLOCK_COLOURS])
def test_block_colours_have_contrast_on_both_surfaces(colour: str, surface: str) -> None:
    assert contrast(colour, surface) >= 3


ON_CELLS = {"placement_map", "pair_map"}
"""Figures whose marks lie on coloured cells, not on the surface."""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ON_CELLS])
def test_what_figures_draw_has_contrast_in_both_themes(name: str, theme: str, full: StudyData) -> None:
    """A colour that is seen and then made half transparent is not seen: dots of a stage, curves of HAC."""
    twins = style.DARK if theme == "dark" else {}
    surface, text = twins.get(style.SURFACE, style.SURFACE), FIGURES[name]()(full).to_json()  # type: ignore[union-attr]
    for light, dark in twins.items():
        text = text.replace(light, dark)
    drawn = json.loads(text)["data"]
    assert not any(trace["type"] == "heatmap" for trace in drawn)
    for trace in (trace for trace in drawn if trace["type"].startswith("scatter")):
        for part in (part for part in ("marker", "line") if part in trace):
            opacity = np.asarray(trace[part].get("opacity", 1.0)) * trace.get("opacity", 1.0)
            colours = trace[part].get("color") or trace[part].get("line", {}).get("color")
            if not isinstance(colours, str) or not opacity.all():
                continue  # a scale of its own, or there for the pointer alone
            seen = opacity.min() * rgb(colours) + (1 - opacity.min()) * rgb(surface)
            blended = "#" + "".join(f"{round(value):02x}" for value in seen)
            assert contrast(blended, surface) >= 3, (trace.get("name"), part)


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def test_no_effect_is_next_to_the_surface_in_both_themes() -> None:
    scale = [colour for _, colour in style.DIVERGING]
    for surface, colours in ((style.SURFACE, scale), (style.DARK[style.SURFACE], [style.DARK[c] for c in scale])):
        distances = [contrast(colour, surface) for colour in colours]
        assert min(distances) == distances[2] < 1.5
        assert distances[0] > distances[1] > distances[2] < distances[3] < distances[4]


def test_text_has_contrast_in_both_themes() -> None:
    for token in (style.INK, style.MUTED):
        assert contrast(token, style.SURFACE) >= 4.5
        assert contrast(style.DARK[token], style.DARK[style.SURFACE]) >= 4.5


def test_dark_tokens_are_no_light_tokens() -> None:
    # Else swapping one token after the other could swap twice.
    assert not set(style.DARK) & set(style.DARK.values())
    assert not set(style.DARK) & set(style.BLOCK_COLOURS.values())


def test_own_blocks_get_one_colour_for_ever() -> None:
    assert style.block_colour("mine:Block") == style.block_colour("mine:Block")
    assert style.block_colour("mine:Block") not in style.BLOCK_COLOURS.values()


def test_own_blocks_of_one_colour_have_another_dot_and_dash() -> None:
    names = [f"mine:Block{i}" for i in range(100)]
    looks = {(style.block_colour(name), style.block_dot(name), style.block_dash(name)) for name in names}
    assert len(looks) == 2 * len(style.OWN_BLOCK_COLOURS)
    assert len({(colour, dot) for colour, dot, _ in looks}) == len({(colour, dash) for colour, _, dash in looks}) == 6


def test_nothing_is_shared_with_others() -> None:
    assert style.CONFIG["showSendToCloud"] is False
    assert "sendChartToCloud" in style.CONFIG["modeBarButtonsToRemove"]
    assert style.CONFIG["displaylogo"] is False
    assert style.CONFIG["plotlyServerURL"] == ""
