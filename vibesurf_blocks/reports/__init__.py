"""Reports: one self-contained HTML page for each run, with a frame that all engines share."""

from vibesurf_blocks.reports.render import Fact, Frame, TimelineItem, render

__all__ = ["Fact", "Frame", "TimelineItem", "render"]
