"""Labels out: a folder with images and label maps in the form that an annotation tool imports."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from goodsam import files
from goodsam.errors import GoodSAMError
from goodsam.images import read_label_map, read_size
from goodsam.review import coco, cvat, label_studio
from goodsam.review.page import Page
from goodsam.review.reviewed_run import ReviewedRun, open_run

log = logging.getLogger(__name__)

TOOLS = {"coco": coco.files_of, "cvat": cvat.files_of, "label-studio": label_studio.files_of}


def write_review(
    root: Path, tool: str, out: Path | None = None, stems: Sequence[str] | None = None, least_sure: int | None = None
) -> Path:
    """Write what a person shall look at.

    Where a panorama has a correction already, that is written in the place of the ensemble's label map: sent out and
    brought back again, a person's work is not lost to what it was better than.

    Args:
        root: the run folder.
        tool: coco, cvat or label-studio.
        out: folder to write, which must not hold anything yet; default RUN/review/TOOL.
        stems: names of panoramas, as those of the label maps without `.png`; None for all.
        least_sure: only so many, those in which the ensemble is the least sure of those without a correction.
    Returns:
        the folder.
    Raises:
        GoodSAMError: not a run with labels, an unknown name, or a folder with something in it.
    """
    if tool not in TOOLS:
        raise GoodSAMError(f"--to {tool}: must be one of {', '.join(TOOLS)}.")
    reviewed = open_run(root)
    folder = out or root / "review" / tool
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GoodSAMError(
            f"{folder}: is there already, with perhaps somebody's work; delete it or give another --out."
        )
    chosen = reviewed.choose(stems, least_sure)
    with files.whole_folder(folder) as temporary:
        for name, text in TOOLS[tool](_pages(reviewed, chosen, temporary / "images"), reviewed.label_set).items():
            files.write_text(temporary / name, text)
    log.info("review: %d panoramas for %s in %s.", len(chosen), tool, folder)
    return folder


def _pages(reviewed: ReviewedRun, stems: Sequence[str], images: Path) -> Iterator[Page]:
    """Put each image in its place below `images`, and its label map beside it."""
    for stem in stems:
        photo, corrected = reviewed.photos[stem], reviewed.run.file("corrections", stem)
        labels = read_label_map(corrected if corrected.exists() else reviewed.run.file("labels", stem))
        size = read_size(photo)
        if size != labels.shape:
            raise GoodSAMError(
                f"{photo}: is {size[1]}x{size[0]} pixels, its label map {labels.shape[1]}x{labels.shape[0]}; it has "
                "changed, run `goodsam label` again."
            )
        name = f"{stem}{photo.suffix}"
        _place(photo, images / name)
        yield Page(stem, name, labels, reviewed.confidence(stem))


def _place(photo: Path, target: Path) -> None:
    """A hard link, which takes no room, or a copy on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(photo.resolve(), target)
        return
    shutil.copy2(photo, target)
