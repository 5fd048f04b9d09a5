"""Augmentation of a labelled photo. Strengths are our choice; the bundled assistant was trained with them."""

import numpy as np
from PIL import Image, ImageFilter


def sample(
    photo: Image.Image, labels: Image.Image, size: tuple[int, int], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented crop.

    The scale, 0.6 to 2, covers what photos and views of panoramas differ by in pixels per degree. Labels are resampled
    to the nearest pixel alone.

    Args:
        photo: RGB.
        labels: 8-bit class ids of the same size.
        size: (h, w) of the crop, pixels.
        random: draws everything.
    Returns:
        uint8 (h, w, 3) and uint8 (h, w).
    """
    height, width = size
    scale = float(np.exp(random.uniform(np.log(0.6), np.log(2.0))))
    stretch = float(np.exp(random.uniform(-0.15, 0.15)))
    w = min(photo.width, width / scale * stretch)
    h = min(photo.height, height / scale / stretch)
    left, top = random.uniform(0, photo.width - w), random.uniform(0, photo.height - h)
    box = (left, top, left + w, top + h)
    photo = photo.resize((width, height), Image.Resampling.BILINEAR, box)
    labels = labels.resize((width, height), Image.Resampling.NEAREST, box)
    if random.random() < 0.2:
        photo = photo.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.2)))
    pixels, ids = jitter(np.asarray(photo), random), np.asarray(labels)
    if random.random() < 0.5:
        pixels, ids = pixels[:, ::-1], ids[:, ::-1]
    return np.ascontiguousarray(pixels), np.ascontiguousarray(ids)


def jitter(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Exposure, contrast, white balance, saturation and noise: uint8 (h, w, 3) to the same."""
    x = pixels.astype(np.float32) / 255
    x = x ** np.float32(np.exp(random.uniform(-0.25, 0.25)))
    x = (x - 0.5) * np.float32(random.uniform(0.75, 1.25)) + 0.5 + np.float32(random.uniform(-0.1, 0.1))
    x = x * random.uniform(0.9, 1.1, 3).astype(np.float32)
    grey = x.mean(-1, keepdims=True)
    x = grey + (x - grey) * np.float32(random.uniform(0.5, 1.5))
    if random.random() < 0.3:
        x = x + random.normal(0, random.uniform(0, 0.03), x.shape).astype(np.float32)
    return (x.clip(0, 1) * 255).astype(np.uint8)
