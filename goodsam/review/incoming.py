"""Corrections back: what a person drew in an annotation tool as label maps in `RUN/corrections`."""

import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from goodsam import corrections, files
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet
from goodsam.review import coco, cvat, label_studio
from goodsam.review.documents import read_documents
from goodsam.review.reviewed_run import ReviewedRun, open_run

log = logging.getLogger(__name__)

Reader = Callable[[Any, LabelSet, str], Iterator[tuple[str, np.ndarray]]]
READERS: dict[str, Reader] = {"coco": coco.read, "cvat": cvat.read, "label-studio": label_studio.read}


def bring_back(root: Path, source: Path) -> list[Path]:
    """Write `RUN/corrections/<stem>.png` of every panorama on which something is drawn; all or nothing.

    Args:
        root: the run folder.
        source: what the tool exported: a file, a zip, or a folder of them; the format is found from the content.
    Returns:
        the label maps, uint8 (H, W), 255 where nothing is drawn.
    Raises:
        GoodSAMError: not a run with labels, or an export that is damaged or does not fit it; nothing is written.
    """
    reviewed = open_run(root)
    corrections.check_classes(reviewed.run, reviewed.label_set.names)
    found: dict[str, tuple[str, bytes]] = {}
    for document in read_documents(source):
        for name, labels in READERS[document.kind](document.content, reviewed.label_set, document.name):
            stem = stem_named(name, reviewed.photos, document.name)
            _check_size(reviewed, stem, labels, document.name)
            if stem in found:
                raise GoodSAMError(f"{document.name}: {stem} is in {found[stem][0]} too; leave one of them out.")
            found[stem] = (document.name, files.png_bytes(labels))  # small: a run may have thousands
    if not found:
        raise GoodSAMError(f"{source}: nothing is drawn on any panorama of it, or nothing was submitted.")
    with files.locked(root / ".lock"):
        corrections.write_classes(reviewed.run, reviewed.label_set.names)
        paths = [reviewed.run.file("corrections", stem) for stem in sorted(found)]
        replaced = sum(path.exists() for path in paths)
        for stem, (_, data) in sorted(found.items()):
            files.write_bytes(reviewed.run.file("corrections", stem), data)
    log.info("review: %d corrections in %s, %d of them in the place of earlier ones.", len(paths), root, replaced)
    return paths


def stem_named(name: str, known: Collection[str], file: str) -> str:
    """The panorama that a name without suffix stands for: tools may drop folders before it, or put some.

    Raises:
        GoodSAMError: none, or more than one.
    """
    if name in known:
        return name
    parts = PurePosixPath(name).parts
    near = [stem for stem in known if _ends_alike(parts, PurePosixPath(stem).parts)]
    if len(near) == 1:
        return near[0]
    if near:
        raise GoodSAMError(f"{file}: {name} may be {near[0]} or {near[1]}; import the images with their sub-folders.")
    raise GoodSAMError(f"{file}: {name} is no panorama of this run that has labels; one is named {sorted(known)[0]}.")


def _ends_alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter = min(len(one), len(other))
    return shorter > 0 and one[-shorter:] == other[-shorter:]


def _check_size(reviewed: ReviewedRun, stem: str, labels: np.ndarray, file: str) -> None:
    with Image.open(reviewed.run.file("labels", stem)) as image:
        width, height = image.size
    if labels.shape != (height, width):
        raise GoodSAMError(
            f"{file}: {stem} is {labels.shape[1]}x{labels.shape[0]} pixels, the panorama is {width}x{height}; correct "
            "it at its own size."
        )
