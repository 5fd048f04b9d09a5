"""Pictures of panoramas, masks and label maps."""

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from goodsam import files
from goodsam.dar.merging import MergedMasks
from goodsam.labels import LabelSet

CAPTION = 26
"""Height of a caption's bar in `stack`, pixels."""


def mask_picture(pixels: np.ndarray, masks: MergedMasks) -> np.ndarray:
    """Masks in colours that mean nothing, over the panorama in grey, with outlines: uint8 (H, W, 3).

    They are laid from large to small, each half transparent, so that a window is seen on its house; of a mask that a
    view cut off only what other views see no better is drawn.

    Args:
        pixels: uint8 (H, W, 3).
        masks: of the panorama.
    """
    size = pixels.shape[:2]
    canvas = (np.repeat(pixels.mean(2, keepdims=True) * 0.55 + 45, 3, axis=2)).reshape(-1, 3)
    edges = np.zeros(size, dtype=bool)
    colors = _colors(len(masks.areas), 0)
    for number in np.argsort(-masks.areas, kind="stable"):
        part = slice(masks.member.indptr[number], masks.member.indptr[number + 1])
        own = masks.member.indices[part][masks.member.data[part] >= 0.5]
        canvas[own] = 0.4 * canvas[own] + 0.6 * colors[number]
        whole = np.zeros(size, dtype=bool)
        whole.ravel()[own] = True
        edges.ravel()[own] = False  # the outlines of what lies under a mask end where it begins
        edges |= whole & borders(whole)
    canvas[edges.ravel()] = 0.25 * canvas[edges.ravel()] + 0.75 * 255
    return canvas.reshape(pixels.shape).round().clip(0, 255).astype(np.uint8)


def borders(values: np.ndarray) -> np.ndarray:
    """Pixels of (H, W) of which a neighbour to the right (wrapping) or below, left or above has another value: bool."""
    right = values != np.roll(values, -1, axis=1)
    below = np.zeros_like(right)
    below[:-1] = values[:-1] != values[1:]
    return right | np.roll(right, 1, axis=1) | below | np.roll(below, 1, axis=0)


def heat(values: np.ndarray) -> np.ndarray:
    """float (H, W), 0..1 -> uint8 (H, W, 3): black, violet, orange, pale yellow, even in brightness and for the
    colour-blind (a few stops of matplotlib's "inferno", CC0)."""
    stops = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], float)
    place = np.clip(values, 0, 1) * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    part = (place - low)[..., None]
    return ((1 - part) * stops[low] + part * stops[low + 1]).round().astype(np.uint8)


def legend(label_set: LabelSet, shares: np.ndarray, width: int) -> np.ndarray:
    """Each class with its colour and its share, in lines of even columns: uint8 (h, width, 3).

    Args:
        label_set: of the classes.
        shares: (C,), 0..1.
        width: pixels.
    """
    texts = [f"{name} {100 * share:.1f} %" for name, share in zip(label_set.names, shares, strict=True)]
    font = ImageFont.load_default(size=15)
    column = 44 + max(round(font.getlength(text)) for text in texts)
    columns = max(1, width // column)
    sheet = Image.new("RGB", (width, 24 * -(-len(texts) // columns) + 6), (250, 250, 248))
    draw = ImageDraw.Draw(sheet)
    for number, (text, color) in enumerate(zip(texts, label_set.colors, strict=True)):
        left, top = (number % columns) * column + 8, (number // columns) * 24 + 5
        draw.rectangle([left, top, left + 20, top + 16], fill=color)
        draw.text((left + 27, top + 8), text, fill=(30, 34, 40), font=font, anchor="lm")
    return np.asarray(sheet)


def _colors(number: int, seed: int) -> np.ndarray:
    """Random bright colours, float (number, 3), 0..255: hues a golden section apart, so that neighbours differ."""
    random = np.random.default_rng(seed)
    hues = (random.random() + np.arange(number) * 0.61803) % 1
    random.shuffle(hues)
    rows = [colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * random.random(), 0.75 + 0.25 * random.random()) for hue in hues]
    return 255 * np.asarray(rows, dtype=float).reshape(number, 3)


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
