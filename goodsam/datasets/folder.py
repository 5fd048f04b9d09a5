"""A folder of images and one of label maps with the same stems."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from goodsam.datasets.ids import own_ids, read_ids
from goodsam.errors import GoodSAMError
from goodsam.files import list_images
from goodsam.labels import LabelSet, load_label_set

_LOSSLESS = (".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class FolderData:
    """Images and label maps by stem; a `datasets.Dataset`."""

    label_set: LabelSet
    """The classes of the label maps."""
    label_set_source: str
    """What `labels.load_label_set` takes to give it."""
    items: tuple[tuple[str, Path, Path], ...]
    """Stem, image and label map, sorted by stem."""
    vfov: float | None = None
    """Vertical field of view of its panoramas, degrees; None where the data does not say."""
    projection: Literal["panorama", "photo"] | None = None
    """What its images are; None where the data does not say."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.items)

    def __iter__(self) -> Iterator[tuple[str, Path, Path]]:
        """Stem, image and label map, sorted by stem."""
        return iter(self.items)

    def read_labels(self, path: Path) -> np.ndarray:
        """A label map, uint8 (H, W).

        Raises:
            GoodSAMError: unreadable, or a value that is neither a class nor 255.
        """
        return read_checked_labels(path, self.label_set)


def folder_data(where: str) -> FolderData:
    """The data set `IMAGES,LABELS[,LABELSET]`: two folders, and a label set's name or .yaml file (cityscapes19).

    Raises:
        GoodSAMError: another form, a folder that is missing or empty, a stem that only one of the two has, a label map
            in a lossy format.
    """
    parts = where.split(",")
    if len(parts) not in (2, 3) or not all(parts):
        raise GoodSAMError(f"--data folder:{where}: must be folder:IMAGES,LABELS or folder:IMAGES,LABELS,LABELSET.")
    source = parts[2] if len(parts) == 3 else "cityscapes19"
    return FolderData(load_label_set(source), source, pair_by_stem(Path(parts[0]), Path(parts[1])))


def folder_images(where: str) -> dict[str, Path]:
    """The images of `IMAGES` or of `IMAGES,LABELS[,LABELSET]`, by stem; labels are not looked at.

    Raises:
        GoodSAMError: as `files.list_images`.
    """
    return list_images(Path(where.split(",")[0]))


def pair_by_stem(image_folder: Path, label_folder: Path) -> tuple[tuple[str, Path, Path], ...]:
    """Stem, image and label map of all images of two folders, sorted by stem.

    Raises:
        GoodSAMError: a folder that is missing or empty, a stem that only one of the two has, a label map in a lossy
            format.
    """
    images, labels = list_images(image_folder), list_images(label_folder)
    _refuse_unpaired(images, label_folder, labels, "label map")
    _refuse_unpaired(labels, image_folder, images, "image")
    refuse_lossy(labels.values())
    return tuple((stem, path, labels[stem]) for stem, path in images.items())


def refuse_lossy(labels: Iterable[Path]) -> None:
    """Refuse label maps in formats that do not keep pixel values.

    Raises:
        GoodSAMError: the first such file.
    """
    for path in labels:
        if path.suffix.lower() not in _LOSSLESS:
            raise GoodSAMError(
                f"{path}: a label map in a format that changes pixel values; give one of {', '.join(_LOSSLESS)}."
            )


def _refuse_unpaired(those: dict[str, Path], folder: Path, others: dict[str, Path], what: str) -> None:
    missing = [stem for stem in those if stem not in others]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise GoodSAMError(
            f"{those[missing[0]]}: has no {what} of the stem {missing[0]!r} in {folder}{more}; images and label maps "
            "must share their stems."
        )


def read_checked_labels(path: Path, label_set: LabelSet) -> np.ndarray:
    """A label map whose values are classes of a label set or 255: uint8 (H, W).

    Raises:
        GoodSAMError: unreadable, or another value; the file and the value are named.
    """
    return read_ids(path, own_ids(label_set))
