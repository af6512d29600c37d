"""Colours that everybody can tell apart, on both surfaces; labels that cannot become markup."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas.reporting import style

# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency (2009).
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
PAPER_BLOCKS = ("cnl", "hac", "agw", "raga", "abd", "se")


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


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_block_colours_stay_apart_for_colour_blind_readers(deficiency: str) -> None:
    matrix = np.array(DEFICIENCIES[deficiency])
    seen = {name: lab(matrix @ linear(colour)) for name, colour in style.BLOCK_COLOURS.items()}
    for a, b in itertools.combinations(seen, 2):
        least = 19 if {a, b} <= set(PAPER_BLOCKS) else 14
        assert np.linalg.norm(seen[a] - seen[b]) >= least, (a, b)


@pytest.mark.parametrize("surface", [style.SURFACE, style.DARK[style.SURFACE]])
@pytest.mark.parametrize("colour", style.BLOCK_COLOURS.values())
def test_block_colours_have_contrast_on_both_surfaces(colour: str, surface: str) -> None:
    assert contrast(colour, surface) >= 3


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


def test_nothing_is_shared_with_others() -> None:
    assert style.CONFIG["showSendToCloud"] is False
    assert "sendChartToCloud" in style.CONFIG["modeBarButtonsToRemove"]
    assert style.CONFIG["displaylogo"] is False
    assert style.CONFIG["plotlyServerURL"] == ""
