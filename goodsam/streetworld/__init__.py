"""Procedural street scenes with exact labels, seen by pinhole and panoramic cameras (needs the `streetworld` extra).

Read in this order: `styles` (what the two cities are like), `splits`, `scene` and `placing` (what stands where), `mesh`
and `shapes`, `cameras`, `render`, `shading`, `textures`, `walls`, `patterns`, `write`.
"""

from goodsam.streetworld.render import Rendered, render
from goodsam.streetworld.scene import Scene, build_scene
from goodsam.streetworld.splits import SPLITS, Split, split_named, split_of
from goodsam.streetworld.styles import STYLES, Style
from goodsam.streetworld.write import write_scenes

__all__ = [
    "SPLITS",
    "STYLES",
    "Rendered",
    "Scene",
    "Split",
    "Style",
    "build_scene",
    "render",
    "split_named",
    "split_of",
    "write_scenes",
]
