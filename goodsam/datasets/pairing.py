"""Images and label maps whose names differ by endings that drift between copies of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from goodsam.datasets.folder import refuse_lossy
from goodsam.errors import GoodSAMError

Items = tuple[tuple[str, Path, Path], ...]
"""Stem, image and label map, sorted by stem."""


def pair_by_name(
    images: Mapping[str, Path], labels: Mapping[str, Path], image_endings: Sequence[str], label_endings: Sequence[str]
) -> Items:
    """Images and label maps whose stems agree but for their endings.

    Args:
        images: by stem.
        labels: by stem; those with none of the endings are other things, and passed over.
        image_endings: that a stem may have, in the order in which they are tried; "" for none.
        label_endings: likewise; of two label maps of one image, that of the earlier ending is taken.
    Raises:
        GoodSAMError: an image without a label map or the reverse, two images of one name, a lossy label map.
    """
    by_key: dict[str, str] = {}
    for stem in images:
        other = by_key.setdefault(_key(stem, image_endings)[0], stem)
        if other != stem:
            raise GoodSAMError(f"{images[stem]}: is {images[other]} under another name; keep one of the two.")
    found: dict[str, tuple[int, Path]] = {}
    for stem, path in labels.items():
        key, rank = _key(stem, label_endings)
        if rank < len(label_endings):
            found[key] = min(found.get(key, (rank, path)), (rank, path))
    expected = " or ".join(f"*{ending}.png" for ending in label_endings)
    _refuse_missing({key: images[stem] for key, stem in by_key.items()}, found, f"label map {expected}")
    _refuse_missing({key: path for key, (_, path) in found.items()}, by_key, "image")
    refuse_lossy(path for _, path in found.values())
    return tuple(sorted((stem, images[stem], found[key][1]) for key, stem in by_key.items()))


def _key(stem: str, endings: Sequence[str]) -> tuple[str, int]:
    for rank, ending in enumerate(endings):
        if stem.endswith(ending):
            return stem.removesuffix(ending), rank
    return stem, len(endings)


def _refuse_missing(those: Mapping[str, Path], others: Mapping[str, object], what: str) -> None:
    missing = sorted(key for key in those if key not in others)
    if missing:
        more = f" ({len(missing)} such)" if len(missing) > 1 else ""
        raise GoodSAMError(f"{those[missing[0]]}: has no {what} of the name {missing[0]!r}{more}.")
