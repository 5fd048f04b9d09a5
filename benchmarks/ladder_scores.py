"""Label maps to counts, image by image and kept, and counts to the rows of the table."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ladder_data import Pictures

from goodsam import __version__, files
from goodsam.bootstrap import miou_of, paired_bootstrap
from goodsam.boundary_f1 import boundary_f1
from goodsam.counts import SEAM_DEGREES, confusion_matrix, iou_of
from goodsam.images import read_label_map
from goodsam.labels import LABEL_SETS
from goodsam.progress import Pace

LABEL_SET = LABEL_SETS["densepass13"]
CLASSES = len(LABEL_SET)
Label = Callable[[str], np.ndarray]
"""Stem -> label map, uint8 (H, W), of the panorama's size."""


def kept_folder(folder: Path, made_with: dict[str, Any]) -> str:
    """Make sure that what lies in a folder was made with these values; anything else there is deleted.

    Returns:
        the fingerprint of `made_with` and of this version of the project.
    """
    fingerprint = files.fingerprint_of(made_with | {"goodsam": __version__})
    path = folder / "made.json"
    if folder.exists() and not (path.exists() and files.read_json(path)["fingerprint"] == fingerprint):
        shutil.rmtree(folder)
    files.write_json(path, {"fingerprint": fingerprint, "made_with": made_with})
    return fingerprint


def climb(name: str, pictures: Pictures, folder: Path, label: Label) -> None:
    """Label and count every image of a rung that is not counted yet.

    Args:
        name: of the rung.
        pictures: the images.
        folder: for labels/ and counts/.
        label: makes a label map; timed.
    """
    todo = [stem for stem in pictures.stems if not (folder / "counts" / f"{stem}.npz").exists()]
    pace = Pace(f"{name}, {pictures.name}", len(todo), [folder])
    for stem in todo:
        path = folder / "labels" / f"{stem}.png"
        start = time.perf_counter()
        made = label(stem)
        seconds = time.perf_counter() - start
        files.write_image(path, made)
        files.write_npz(
            folder / "counts" / f"{stem}.npz", **counts(pictures.labels(stem), made), seconds=np.array(seconds)
        )
        pace.tick()


def label_map(folder: Path, stem: str) -> np.ndarray:
    """What `climb` left, uint8 (H, W)."""
    return read_label_map(folder / "labels" / f"{stem}.png")


def counts(labels: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
    """Everything that the table needs of one panorama.

    Returns:
        `confusion` and `seam` (pixels within 5 degrees of the left-right edge), int64 (C, C + 1), and `boundary`,
        F1 per class, float64 (C,), NaN where the labels have no boundary of it.
    """
    yaw = (np.arange(labels.shape[1]) + 0.5) * 360 / labels.shape[1]
    seam = np.minimum(yaw, 360 - yaw) < SEAM_DEGREES
    return {
        "confusion": confusion_matrix(labels, prediction, CLASSES),
        "seam": confusion_matrix(labels[:, seam], prediction[:, seam], CLASSES),
        "boundary": boundary_f1(labels, prediction, CLASSES, wrap=True),
    }


def read_counts(folder: Path, pictures: Pictures) -> dict[str, np.ndarray]:
    """The counts of all N images, (N, ...)."""
    read = [files.read_npz(folder / "counts" / f"{stem}.npz") for stem in pictures.stems]
    return {name: np.array([item[name] for item in read]) for name in read[0]}


def row_of(name: str, pictures: Pictures, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """One rung on one kind of panorama; shares 0..1, None where nothing could be counted.

    The same figures as `goodsam evaluate labels:...` gives.

    Args:
        found: the counts of all images.
    """
    total = found["confusion"].sum(0)
    shown = ~np.isnan(found["boundary"])
    per_class = np.where(shown, found["boundary"], 0).sum(0)[shown.any(0)] / shown.sum(0)[shown.any(0)]
    ious = dict(zip(LABEL_SET.names, iou_of(total).tolist(), strict=True))
    return {
        "rung": name,
        "data": pictures.name,
        "images": len(pictures.stems),
        "miou": number(float(miou_of(total))),
        "boundary_f1": number(float(per_class.mean())) if per_class.size else None,
        "seam_miou": number(float(miou_of(found["seam"].sum(0)))),
        "pixel_accuracy": float(np.diag(total).sum() / max(total.sum(), 1)),
        "per_class": {key: number(value) for key, value in ious.items()},
        "seconds": float(found["seconds"].sum()),
    }


def mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of those of several seeds: means, and the mIoU of each seed where there are several."""
    if len(rows) == 1:
        return rows[0]

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    merged = rows[0] | {key: mean([row[key] for row in rows]) for key, value in rows[0].items() if type(value) is float}
    names = rows[0]["per_class"]
    merged["per_class"] = {name: mean([row["per_class"][name] for row in rows]) for name in names}
    return merged | {"seeds": [row["miou"] for row in rows]}


def compared(reference: str, first: list[np.ndarray], second: list[np.ndarray]) -> dict[str, Any]:
    """The paired difference of mIoU to a reference rung; confusions (N, C, C + 1) of each seed.

    Where one of them has been climbed on the first pictures alone, these are compared. With one seed a 95 % interval
    over images, with several the mean, the smallest and the largest difference.
    """
    both = min(len(first[0]), len(second[0]))
    first, second = ([item[:both] for item in items] for items in (first, second))
    number = max(len(first), len(second))
    pairs = list(zip(first * (number // len(first)), second * (number // len(second)), strict=True))
    if len(pairs) == 1:
        interval = paired_bootstrap(*pairs[0], seed=0)
        spread = (interval.difference, interval.low, interval.high)
    else:
        each = [float(miou_of(b.sum(0)) - miou_of(a.sum(0))) for a, b in pairs]
        spread = (float(np.mean(each)), min(each), max(each))
    return {
        "reference": reference,
        "seeds": len(pairs),
        **dict(zip(("difference", "low", "high"), spread, strict=True)),
    }


def number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value
