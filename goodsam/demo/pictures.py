"""Pictures of a panorama and of what each step makes of it."""

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from goodsam import files
from goodsam.labels import IGNORE, LabelSet
from goodsam.masks import Masks, PanoramaMasks
from goodsam.panorama import geometry_of
from goodsam.views import Crop, size_of

CAPTION = 26
"""Height of a caption's bar in `stack`, pixels."""


def mask_picture(pixels: np.ndarray, found: PanoramaMasks, vfov: float) -> np.ndarray:
    """Masks in colours that mean nothing, over the panorama in grey, with outlines: uint8 (H, W, 3).

    Masks of views that overlap would hide each other, so neighbours that just touch are drawn: for views of 90 degrees
    every 45, every second one. Within a view, masks are laid from large to small, each half transparent, so that a
    window is seen on its house.

    Args:
        pixels: uint8 (H, W, 3).
        found: the panorama's masks; crops alone are drawn.
        vfov: of the panorama, degrees.
    """
    grey = pixels.mean(2, keepdims=True) * 0.55 + 45
    canvas = np.repeat(grey, 3, axis=2)
    geometry = geometry_of(found.size, vfov)
    seen = 0.0
    crops = sorted(((view, masks) for view, masks in found.views if isinstance(view, Crop)), key=lambda x: x[0].yaw)
    for number, (view, masks) in enumerate(crops):
        if view.yaw - crops[0][0].yaw < seen - 1e-6 or seen + view.width > 360 + 1e-6:
            continue
        seen += view.width
        width = size_of(view, geometry)[1]
        columns = (geometry.column_of_yaw(view.yaw - view.width / 2) + np.arange(width)) % geometry.width
        canvas[:, columns] = _painted(canvas[:, columns], masks, number)
    return canvas.round().clip(0, 255).astype(np.uint8)


def _painted(canvas: np.ndarray, masks: Masks, seed: int) -> np.ndarray:
    """One view under its masks: float (h, w, 3)."""
    index, offsets = masks.pixels()
    size = canvas.shape[:2]
    flat = canvas.reshape(-1, 3).copy()
    edges = np.zeros(len(flat), dtype=bool)
    colors = _colors(len(masks), seed)
    for number in np.argsort(-np.asarray(masks.areas), kind="stable"):
        own = index[offsets[number] : offsets[number + 1]]
        flat[own] = 0.4 * flat[own] + 0.6 * colors[number]
        mask = np.zeros(len(flat), dtype=bool)
        mask[own] = True
        whole = mask.reshape(size)
        edges[own] = False  # the outlines of what lies under a mask end where it begins
        edges |= (whole & ~ndimage.binary_erosion(whole, border_value=1)).ravel()
    flat[edges] = 0.25 * flat[edges] + 0.75 * 255
    return flat.reshape(canvas.shape)


def _colors(number: int, seed: int) -> np.ndarray:
    """Random bright colours, float (number, 3), 0..255: hues a golden section apart, so that neighbours differ."""
    random = np.random.default_rng(seed)
    hues = (random.random() + np.arange(number) * 0.61803) % 1
    random.shuffle(hues)
    rows = [colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * random.random(), 0.75 + 0.25 * random.random()) for hue in hues]
    return 255 * np.asarray(rows, dtype=float).reshape(number, 3)


def label_picture(labels: np.ndarray, truth: np.ndarray, label_set: LabelSet) -> np.ndarray:
    """A label map in its classes' colours, black where the truth has no label and nothing is scored.

    Args:
        labels: uint8 (H, W), class ids.
        truth: uint8 (H, W), class ids, 255 on the camera's own car.
        label_set: of both.
    Returns:
        uint8 (H, W, 3).
    """
    return label_set.colorize(np.where(truth == IGNORE, IGNORE, labels).astype(np.uint8))


def narrowed(pixels: np.ndarray, width: int, smooth: bool) -> np.ndarray:
    """uint8 (H, W, 3) at a width of at most `width`; `smooth` for photos, else every pixel keeps a class's colour."""
    if pixels.shape[1] <= width:
        return pixels
    size = (width, round(pixels.shape[0] * width / pixels.shape[1]))
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def jpeg(pixels: np.ndarray, quality: int = 82) -> bytes:
    """uint8 (H, W, 3) as a JPEG file; colours at full resolution, since class colours are what the picture says."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def stack(path: Path, strips: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write pictures of one width below each other, each under its caption.

    Args:
        path: of the JPEG.
        strips: caption and uint8 (H, W, 3).
    """
    width = strips[0][1].shape[1]
    sheet = Image.new("RGB", (width, sum(CAPTION + len(pixels) for _, pixels in strips)), (250, 250, 248))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=17)
    top = 0
    for caption, pixels in strips:
        draw.text((8, top + CAPTION / 2), caption, fill=(30, 34, 40), font=font, anchor="lm")
        sheet.paste(Image.fromarray(pixels), (0, top + CAPTION))
        top += CAPTION + len(pixels)
    files.write_image(path, np.asarray(sheet), quality=86, subsampling=0, optimize=True)
