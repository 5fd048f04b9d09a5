"""Data sets by the string that names them: labelled images to evaluate on, and unlabelled panoramas to distil."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from goodsam.datasets.cityscapes import cityscapes_data, cityscapes_images
from goodsam.datasets.densepass import densepass_data, densepass_images
from goodsam.datasets.folder import folder_data, folder_images
from goodsam.datasets.stanford2d3d import stanford2d3d_data, stanford2d3d_images
from goodsam.datasets.streetworld import streetworld_data, streetworld_images
from goodsam.datasets.synpass import synpass_data, synpass_images
from goodsam.datasets.wildpass import wildpass_data, wildpass_images
from goodsam.errors import GoodSAMError
from goodsam.files import list_images
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


KINDS: dict[str, Callable[[str], Dataset]] = {
    "folder": folder_data,
    "densepass": densepass_data,
    "wildpass": wildpass_data,
    "stanford2d3d": stanford2d3d_data,
    "synpass": synpass_data,
    "cityscapes": cityscapes_data,
    "streetworld": streetworld_data,
}
"""Kind -> what makes the data set of the text after the colon."""

_IMAGES: dict[str, Callable[[str], dict[str, Path]]] = {
    "folder": folder_images,
    "densepass": densepass_images,
    "wildpass": wildpass_images,
    "stanford2d3d": stanford2d3d_images,
    "synpass": synpass_images,
    "cityscapes": cityscapes_images,
    "streetworld": streetworld_images,
}
"""Kind -> what lists the panoramas to distil of the text after the colon."""


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


def training_images(text: str) -> dict[str, Path]:
    """The panoramas that a string such as `wildpass:ROOT` gives to distil: stem -> path, sorted by stem.

    Those of DensePASS and WildPASS are unlabelled; of Stanford2D3D and SynPASS they are those to train on, and of a
    folder or a street world all, whose labels are not looked at.

    Raises:
        GoodSAMError: a kind that does not exist or has no panoramas, or what the kind finds wrong.
    """
    kind, colon, where = text.partition(":")
    if not colon or kind not in _IMAGES:
        kinds = ", ".join(f"{name}:..." for name in _IMAGES if name != "cityscapes")
        raise GoodSAMError(
            f"{text}: no such file or folder, and no data set; give a panorama, a folder of them, or one of {kinds}."
        )
    return dict(sorted(_IMAGES[kind](where).items()))


def find_panoramas(panoramas: Path | str) -> dict[str, Path]:
    """The panoramas of a file, a folder or a string as `training_images` takes it: stem -> path, sorted by stem.

    Raises:
        GoodSAMError: neither, or no images there.
    """
    if Path(panoramas).exists():
        return list_images(Path(panoramas))
    return training_images(str(panoramas))
