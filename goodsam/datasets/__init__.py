"""Labelled images to evaluate on, by the string that `--data` takes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from goodsam.datasets.folder import folder_data
from goodsam.datasets.streetworld import streetworld_data
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet


class Dataset(Protocol):
    """Images with label maps."""

    @property
    def label_set(self) -> LabelSet:
        """The classes of its label maps."""

    @property
    def label_set_source(self) -> str:
        """What `labels.load_label_set` takes to give it: a name or a .yaml file."""

    @property
    def vfov(self) -> float | None:
        """Vertical field of view of its panoramas, degrees; None where the data does not say."""

    @property
    def projection(self) -> Literal["panorama", "photo"] | None:
        """Whether its images are panoramas or ordinary photos; None where the data does not say."""

    def __len__(self) -> int:
        """Number of images."""

    def __iter__(self) -> Iterator[tuple[str, Path, Path]]:
        """Stem, image and label map, sorted by stem."""

    def read_labels(self, path: Path) -> np.ndarray:
        """A label map, uint8 (H, W): 0..C-1 of its label set, or 255."""


KINDS: dict[str, Callable[[str], Dataset]] = {"folder": folder_data, "streetworld": streetworld_data}
"""Kind -> what makes the data set of the text after the colon."""


def parse_data(text: str) -> Dataset:
    """The data set that a `--data` string names, such as `folder:IMAGES,LABELS`.

    Raises:
        GoodSAMError: a kind that does not exist, or what the kind finds wrong.
    """
    kind, colon, where = text.partition(":")
    if not colon or kind not in KINDS:
        kinds = ", ".join(f"{name}:..." for name in KINDS)
        raise GoodSAMError(
            f"--data {text}: must be KIND:WHERE with one of the kinds {kinds}; images and label maps of your own are "
            "folder:IMAGES,LABELS[,LABELSET]."
        )
    return KINDS[kind](where)
