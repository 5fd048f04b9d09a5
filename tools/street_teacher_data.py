"""What the bundled teacher learns from: crops of rendered streets and generic shapes, with points in their objects."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from street_shapes import shapes_picture
from street_teacher_model import SIZE, SMALL

from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD

MIN_AREA = 300
"""Pixels at SIZE: smaller objects are a few cells of the mask, and few prompts of a grid hit them."""


@dataclass(frozen=True)
class Batch:
    """B pictures with P prompts each."""

    pixels: torch.Tensor
    """float32 (B, 3, S, S), normalised, S the side of the phase."""
    points: torch.Tensor
    """float32 (B, Q, 2), x and y in pixels; the first P of them are the prompts, the others for `Likeness` alone."""
    targets: torch.Tensor
    """float32 (B, Q,  S / 2, S / 2): share of each 2 x 2 pixels that the object covers."""
    valid: torch.Tensor
    """float32 (B, 1,  S / 2, S / 2): share that is labelled."""


def stems_of(data: Path) -> list[str]:
    """Names of the pictures that have both files, in order."""
    labelled = {path.stem for path in (data / "instances").glob("*.png")}
    return sorted(path.stem for path in (data / "images").glob("*.jpg") if path.stem in labelled)


def read_picture(data: Path, stem: str) -> tuple[Image.Image, Image.Image]:
    """Image and instance map of one scene."""
    return Image.open(data / "images" / f"{stem}.jpg").convert("RGB"), Image.open(data / "instances" / f"{stem}.png")


def squash(
    image: Image.Image, instances: Image.Image, box: tuple[int, ...], side: int
) -> tuple[np.ndarray, np.ndarray]:
    """A box (left, top, right, bottom) of a picture at side x side: uint8 RGB and integer ids."""
    resized = image.resize((side, side), Image.Resampling.BILINEAR, box=box)  # Pillow's averages where it reduces
    rows = (box[1] + (np.arange(side) + 0.5) * (box[3] - box[1]) / side).astype(int)
    columns = (box[0] + (np.arange(side) + 0.5) * (box[2] - box[0]) / side).astype(int)
    return np.array(resized), np.asarray(instances)[rows][:, columns].astype(np.int32)


def street_picture(random: np.random.Generator, data: Path, stem: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A random crop of a scene, at 0.8 to 2.5 times its own size in each phase.

    Every other one is nearly as wide as can be: views of panoramas show as many degrees, or more.
    """
    image, instances = read_picture(data, stem)
    most = [min(round(side * 1.25), length) for length in image.size]
    wide = random.random() < 0.5
    least = [round(length * 0.85) if wide else round(side * 0.4) for length in most]
    while True:
        width, height = (random.integers(low, high + 1) for low, high in zip(least, most, strict=True))
        if 0.6 <= width / height <= 1.7:
            break
    left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
    return squash(image, instances, tuple(int(value) for value in (left, top, left + width, top + height)), side)


def jitter(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Another exposure, contrast, colour, focus and noise: uint8 (h, w, 3) -> the same."""
    if random.random() < 0.15:
        blurred = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.8)))
        picture = np.asarray(blurred)
    tables = np.empty((3, 256), np.uint8)  # one curve a channel: what a table does costs one look-up a pixel
    gamma, contrast, shift = random.uniform(0.7, 1.4), random.uniform(0.6, 1.35), random.uniform(-25, 25)
    for channel in range(3):
        curve = 255 * (np.arange(256) / 255) ** (gamma * random.uniform(0.9, 1.1))
        curve = (curve - 128) * contrast + 128 + shift + random.uniform(-12, 12)
        tables[channel] = np.clip(curve, 0, 255)
    picture = np.stack([tables[channel][picture[..., channel]] for channel in range(3)], axis=-1)
    if random.random() < 0.1:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    if random.random() < 0.2:
        noise = random.standard_normal(picture.shape, dtype=np.float32) * random.uniform(1, 8)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return picture


def normalise(picture: np.ndarray) -> torch.Tensor:
    """uint8 (h, w, 3) -> float32 (3, h, w), as `goodsam.teachers.preprocessing` does."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


def halve(masks: np.ndarray) -> np.ndarray:
    """bool (N, h, w) -> float32 (N, h / 2, w / 2): averages of 2 x 2."""
    bits = masks.view(np.uint8)
    rows = bits[:, 0::2] + bits[:, 1::2]
    return (rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.25)


def choose_prompts(random: np.random.Generator, ids: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in objects, every object alike: (count, 2) x, y and (count,) ids of objects.

    By area nearly every prompt would lie on road, walls and sky.
    """
    areas = np.bincount(ids.ravel())
    areas[0] = 0
    least = min(MIN_AREA * (len(ids) / SIZE) ** 2, areas.max())
    weights = (areas >= least) & (areas > 0)
    chosen = random.choice(len(areas), count, p=weights / weights.sum())
    order = np.argsort(ids, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(ids.ravel()))
    places = order[(ends[chosen] - areas[chosen]) + (random.random(count) * areas[chosen]).astype(int)]
    return np.stack([places % ids.shape[1], places // ids.shape[1]], axis=1), chosen


def side_of(args: argparse.Namespace, step: int) -> int:
    """Side of the pictures of a step, pixels."""
    return SMALL if step < args.small * args.steps else SIZE


def make_batch(args: argparse.Namespace, stems: list[str], step: int) -> Batch:
    """The batch of one step, which depends on the seed and the step only, so that a resumed run sees the same."""
    pixels, points, targets, valid = [], [], [], []
    side = side_of(args, step)
    for number in range(args.batch if side == SMALL else max(1, args.batch // 2)):
        random = np.random.default_rng([args.seed, step, number])
        while True:
            if random.random() < args.shapes:
                picture, ids = shapes_picture(random, side)
            else:
                picture, ids = street_picture(random, args.data, stems[random.integers(len(stems))], side)
            if (ids > 0).any():
                break
        if random.random() < 0.5:
            picture, ids = picture[:, ::-1], ids[:, ::-1]
        places, chosen = choose_prompts(random, ids, args.prompts + args.more)
        pixels.append(normalise(jitter(random, picture)))
        points.append(torch.from_numpy(places).float())
        targets.append(torch.from_numpy(halve(ids == chosen[:, None, None])))
        valid.append(torch.from_numpy(halve(ids[None] > 0)))
    return Batch(*(torch.stack(values) for values in (pixels, points, targets, valid)))
