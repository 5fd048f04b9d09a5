"""Sheets of the street world for looking at: twenty pictures of each camera and style, six files.

    python tools/street_sheets.py OUT_FOLDER [--seed 7]

The seed is none of a split's, so that looking at the sheets is not looking at test data.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from goodsam.streetworld import STYLES, build_scene, render
from goodsam.streetworld.cameras import CAMERAS, CameraKind

NUMBER = 20
LAYOUT: dict[str, tuple[int, int, int]] = {"pinhole": (240, 320, 5), "panorama": (256, 512, 4), "strip": (150, 768, 2)}
"""Height and width of a picture, pixels, and pictures in a row."""


def sheet(camera: CameraKind, style: str, seed: int) -> Image.Image:
    """Twenty scenes through one camera."""
    height, width, columns = LAYOUT[camera]
    pictures = []
    for index in range(NUMBER):
        scene = build_scene(seed, index, STYLES[style], own_car=camera != "pinhole")
        pictures.append(render(scene, camera, (height, width)).pixels)
    grid = np.stack(pictures).reshape(NUMBER // columns, columns, height, width, 3)
    return Image.fromarray(grid.transpose(0, 2, 1, 3, 4).reshape(NUMBER // columns * height, columns * width, 3))


def main() -> None:
    """Write SHEET.png for each camera and style."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for camera in CAMERAS:
        for style in STYLES:
            sheet(camera, style, options.seed).save(options.out / f"{camera}-{style}.png")
            print(f"{camera}-{style}.png", flush=True)


if __name__ == "__main__":
    main()
