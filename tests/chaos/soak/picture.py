"""Draws the samples of a soak as one small SVG file."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from tests.chaos.soak.samples import MEASURES, Sample

_POINTS = 100
"""Each line has about so many points, so that the file stays small."""


def draw(samples: list[Sample], path: Path, title: str) -> None:
    """Write the picture: one small chart for each measure, over minutes."""
    mpl.rcParams["svg.hashsalt"] = "soak"
    mpl.rcParams["svg.fonttype"] = "none"
    every = max(1, len(samples) // _POINTS)
    shown = samples[::every]
    minutes = [one.seconds / 60 for one in shown]
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.2), layout="constrained")
    for axis, (field, name) in zip(axes.flat, MEASURES.items(), strict=True):
        axis.plot(minutes, [getattr(one, field) for one in shown], linewidth=1, color="#2b6cb0")
        axis.set_title(name, fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("minutes", fontsize=9)
    figure.suptitle(title, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
