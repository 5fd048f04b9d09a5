"""The folders of Cityscapes, which DensePASS and WildPASS keep: leftImg8bit/SPLIT/... and gtFine/SPLIT/..."""

from collections.abc import Sequence
from pathlib import Path

from goodsam.datasets.pairing import Items, pair_by_name
from goodsam.datasets.published import folder_of
from goodsam.files import list_images


def labelled(kind: str, root: Path, split: str, image_endings: Sequence[str], label_endings: Sequence[str]) -> Items:
    """Stem, image and label map of a split; stems are those of the images below leftImg8bit/SPLIT.

    Raises:
        GoodSAMError: a folder that is missing or empty, or as `pairing.pair_by_name`.
    """
    images = list_images(folder_of(kind, root, f"leftImg8bit/{split}"))
    return pair_by_name(images, list_images(folder_of(kind, root, f"gtFine/{split}")), image_endings, label_endings)


def unlabelled(kind: str, root: Path) -> dict[str, Path]:
    """The unlabelled training images by stem, such as "Amsterdam/1".

    Raises:
        GoodSAMError: a folder that is missing or empty.
    """
    return list_images(folder_of(kind, root, "leftImg8bit/train", "train"))
