"""Labelled photos of a training: which are held out, and the batch of a step."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from goodsam.assistant_training.augment import sample
from goodsam.datasets import Dataset, parse_data
from goodsam.errors import GoodSAMError
from goodsam.images import read_photo
from goodsam.labels import LabelSet

log = logging.getLogger(__name__)

Item = tuple[str, Path, Path]
"""Stem, photo and label map."""


@dataclass(frozen=True)
class Photos:
    """Labelled photos, split."""

    data: Dataset
    seen: tuple[Item, ...]
    """Those that training sees."""
    held_out: tuple[Item, ...]
    """Those that it does not: the last ones."""

    @property
    def label_set(self) -> LabelSet:
        """Their classes."""
        return self.data.label_set


def load_photos(data: str, held_out: int) -> Photos:
    """The photos that a `--data` string names, the last `held_out` of them apart.

    The last and not every n-th: neighbours in a sequence show the same street, and the figures would flatter.

    Raises:
        GoodSAMError: as `parse_data`, or no photo is left to train on.
    """
    found = parse_data(data)
    items = tuple(found)
    if held_out >= len(items):
        raise GoodSAMError(
            f"--held-out {held_out}: {data} has {len(items)} photos, and some must be left to train on; give at most "
            f"{max(0, len(items) - 1)} (0 looks at none)."
        )
    if found.projection == "panorama":
        log.warning("assistant: %s holds panoramas; an assistant is made for ordinary photos and views.", data)
    split = len(items) - held_out
    return Photos(found, items[:split], items[split:])


def read_pair(data: Dataset, item: Item) -> tuple[np.ndarray, np.ndarray]:
    """A photo, uint8 (H, W, 3), and its labels, uint8 (H, W).

    Raises:
        GoodSAMError: one cannot be read, has a value that is no class, or they differ in size.
    """
    _, photo, path = item
    pixels, labels = read_photo(photo), data.read_labels(path)
    if labels.shape != pixels.shape[:2]:
        sizes = [f"{size[0]}x{size[1]}" for size in (labels.shape, pixels.shape)]
        raise GoodSAMError(f"{path}: {sizes[0]} pixels, but its photo {photo} has {sizes[1]}; they must be the same.")
    return pixels, labels


class Batches(TorchDataset[tuple[Tensor, Tensor] | GoodSAMError]):
    """Step -> its batch, a function of seed and step alone, so that a training can go on in the middle.

    Args:
        photos: to draw from; without repeats in a step where there are enough.
        crops: photos, height and width of the steps, in turn.
        seed: of the training.
    """

    def __init__(self, photos: Photos, crops: Sequence[tuple[int, int, int]], seed: int) -> None:
        self._photos, self._crops, self._seed = photos, crops, seed

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor] | GoodSAMError:
        """Photos, uint8 (B, h, w, 3), and labels, uint8 (B, h, w).

        An error is returned: raised in a worker it would reach the user as that worker's traceback.
        """
        count, height, width = self._crops[step % len(self._crops)]
        random = np.random.default_rng([self._seed, step])
        seen = self._photos.seen
        chosen = random.choice(len(seen), count, replace=count > len(seen))
        try:
            pairs = [self._sample(seen[int(index)], (height, width), random) for index in chosen]
        except GoodSAMError as error:
            return error
        pixels, labels = zip(*pairs, strict=True)
        return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels))

    def _sample(self, item: Item, size: tuple[int, int], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = read_pair(self._photos.data, item)
        return sample(Image.fromarray(pixels), Image.fromarray(labels), size, random)
