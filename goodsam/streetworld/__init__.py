"""Procedural street scenes with exact labels, seen by pinhole and panoramic cameras (needs the `streetworld` extra).

Read in this order: `styles` (what the two cities are like), `scene` and `placing` (what stands where), `mesh` and
`shapes`, `cameras`, `render`, `shading`, `textures`, `walls`, `patterns`, `write`.
"""

from goodsam.streetworld.render import Rendered, render
from goodsam.streetworld.scene import Scene, build_scene
from goodsam.streetworld.styles import STYLES, Style
from goodsam.streetworld.write import write_scenes

__all__ = ["STYLES", "Rendered", "Scene", "Style", "build_scene", "render", "write_scenes"]
