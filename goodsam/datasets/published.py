"""What published data sets share: options after the root and folders that must be there."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from goodsam.datasets.pairing import Items
from goodsam.errors import GoodSAMError
from goodsam.files import list_images
from goodsam.labels import LabelSet

log = logging.getLogger(__name__)

Groups = Mapping[str, tuple[str, ...]]
"""What a kind's options are about -> the options, of which one can be given."""


@dataclass(frozen=True)
class PublishedData:
    """Labelled images of a published data set; a `datasets.Dataset`."""

    label_set: LabelSet
    """The classes of the label maps as `read_labels` gives them."""
    items: Items
    read: Callable[[Path], np.ndarray]
    """Label map -> uint8 (H, W) in the label set's ids."""
    expected: int
    """Number of images as published."""
    vfov: float | None = None
    """Vertical field of view of its panoramas, degrees; None for square pixels, and for photos."""
    projection: Literal["panorama", "photo"] = "panorama"

    @property
    def label_set_source(self) -> str:
        """The label set's name; it is a built-in one."""
        return self.label_set.name

    def __len__(self) -> int:
        """Number of images."""
        return len(self.items)

    def __iter__(self) -> Iterator[tuple[str, Path, Path]]:
        """Stem, image and label map, sorted by stem."""
        return iter(self.items)

    def read_labels(self, path: Path) -> np.ndarray:
        """A label map, uint8 (H, W), in the label set's ids, 255 ignored.

        Raises:
            GoodSAMError: unreadable, or a value that the data set does not have.
        """
        return self.read(path)


def parse_where(kind: str, where: str, groups: Groups) -> tuple[Path, dict[str, str]]:
    """The root of `ROOT[,OPTION...]`, and what was chosen of each group.

    Raises:
        GoodSAMError: no such folder, an option that the kind does not have, two that exclude each other.
    """
    root, *options = where.split(",")
    allowed = ", ".join(name for names in groups.values() for name in names)
    chosen: dict[str, str] = {}
    for option in options:
        group = next((group for group, names in groups.items() if option in names), None)
        if group is None:
            raise GoodSAMError(f"{kind}:{where}: {option!r} is no option of {kind}; it has {allowed}.")
        if chosen.setdefault(group, option) != option:
            raise GoodSAMError(f"{kind}:{where}: {chosen[group]} and {option} exclude each other; give one {group}.")
    if not root or not Path(root).is_dir():
        raise GoodSAMError(f"{kind}:{where}: no such folder {root!r}; give {kind}:ROOT[,OPTION], OPTION of {allowed}.")
    return Path(root), chosen


def folder_of(kind: str, root: Path, *choices: str) -> Path:
    """The first folder below the root that is there.

    Raises:
        GoodSAMError: none is.
    """
    for choice in choices:
        if (root / choice).is_dir():
            return root / choice
    raise GoodSAMError(
        f"{root}: has no folder {' or '.join(choices)}, which {kind} has; give the folder that it lies in as ROOT."
    )


def list_parts(kind: str, parts: Mapping[str, Path]) -> dict[str, Path]:
    """Images of several folders by stem, each stem below the name of its part; a part that is missing is said.

    Raises:
        GoodSAMError: no part is there, or one is empty.
    """
    there = {part: folder for part, folder in parts.items() if folder.is_dir()}
    if not there:
        raise GoodSAMError(
            f"{next(iter(parts.values()))}: no such folder, nor those of {', '.join(list(parts)[1:])}, which {kind} "
            "has; give the folder above them all as ROOT."
        )
    if len(there) < len(parts):
        missing = [str(folder) for part, folder in parts.items() if part not in there]
        log.warning("%s: a part of it is missing (%s); figures are not those of the whole.", kind, ", ".join(missing))
    return {
        f"{part}/{stem}": path for part, folder in sorted(there.items()) for stem, path in list_images(folder).items()
    }
