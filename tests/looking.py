"""Where views see a panorama, by trigonometry a pixel at a time: what the tests of masks on panoramas compare with."""

import math

import numpy as np

from goodsam.masks import Masks, masks_from_arrays
from goodsam.panorama import Geometry
from goodsam.views import Crop, View, size_of


def seen_by(view: View, geometry: Geometry, row: int, column: int) -> tuple[float, int, int] | None:
    """Weight of a view at a panorama pixel and the row and column of the view's nearest pixel; None where unseen."""
    height, width = size_of(view, geometry)
    yaw = (column + 0.5) / geometry.width * 360 - 180
    pitch = geometry.vfov / 2 - (row + 0.5) * geometry.vfov / geometry.height
    if isinstance(view, Crop):
        distance = (yaw - view.yaw + 180) % 360 - 180
        if abs(distance) >= view.width / 2:
            return None
        inside = int((distance + view.width / 2) / view.width * width)
        return math.cos(abs(distance) / view.width * math.pi) ** 2, row, inside
    y, p, tilt = math.radians(yaw - view.yaw), math.radians(pitch), math.radians(view.pitch)
    right, up, ahead = math.sin(y) * math.cos(p), math.sin(p), math.cos(y) * math.cos(p)
    up, ahead = up * math.cos(tilt) - ahead * math.sin(tilt), up * math.sin(tilt) + ahead * math.cos(tilt)
    angle = math.degrees(math.acos(max(-1.0, min(1.0, ahead))))
    if angle >= view.fov / 2:
        return None
    half = math.tan(math.radians(view.fov / 2))
    x, y = right / ahead / half, -up / ahead / half
    return math.cos(angle / view.fov * math.pi) ** 2, int((y + 1) / 2 * height), int((x + 1) / 2 * width)


def random_masks(size: tuple[int, int], number: int, random: np.random.Generator) -> Masks:
    """Overlapping rectangles with holes, scores partly missing."""
    arrays = np.zeros((number, *size), dtype=bool)
    for mask in arrays:
        top, left = random.integers(0, size[0]), random.integers(0, size[1])
        mask[top : top + random.integers(1, size[0] + 1), left : left + random.integers(1, size[1] + 1)] = True
        mask &= random.random(size) < 0.9
        mask[top, left] = True
    ious = [None if random.random() < 0.3 else float(random.uniform(0.5, 1)) for _ in range(number)]
    stabilities = [None if random.random() < 0.3 else float(random.uniform(0.5, 1)) for _ in range(number)]
    return masks_from_arrays(arrays, ious, stabilities)
