"""A subject on a data set: metrics.json, and a table for the terminal.

Not named `evaluate`: the package's verb of that name would be hidden by a module's.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from goodsam import files
from goodsam.config import parse_scales
from goodsam.datasets import parse_data
from goodsam.errors import GoodSAMError
from goodsam.images import read_photo
from goodsam.metrics import Evaluation, Scores
from goodsam.panorama import Geometry, read_panorama
from goodsam.subjects import Image, SubjectOptions, load_subject

log = logging.getLogger(__name__)


def evaluate(
    subject: str,
    data: str,
    *,
    views: str = "crops",
    view_scale: float | str = 1.0,
    projection: Literal["panorama", "photo"] | None = None,
    vfov: float | None = None,
    horizon: float | None = None,
    out: Path | str | None = None,
    limit: int | None = None,
    device: str = "auto",
    width: int | None = None,
) -> Evaluation:
    """Compare a subject's label maps with the labels of a data set, at the labels' own size.

    Label sets that differ are mapped: an assistant's probabilities are, and a student's label map by class, 255 where
    the data has no such class.

    Args:
        subject: `student:DIR`, `assistant:ID`, or `labels:DIR` (label maps in the data's label set, same stems, .png).
        data: what `datasets.parse_data` takes, such as `folder:IMAGES,LABELS` or `streetworld:ROOT`.
        views: how an assistant sees a panorama: "whole", "crops", "tangent" or "auto".
        view_scale: factor by which an assistant's views are enlarged before it sees them; "1,1.5" averages two.
        projection: "photo" for ordinary flat photos: nothing wraps, and an assistant sees the whole photo; None for
            what the data says they are, "panorama" where it does not.
        vfov: vertical field of view of panoramas, degrees; None for what the data says, square pixels where it does
            not.
        horizon: row of pitch 0 in the image, pixels from the upper edge; None for the middle.
        out: a folder for metrics.json or a .json file; None writes only for a student in a run, to RUN/metrics.json.
        limit: the first so many images alone.
        device: "auto", "cpu", "cuda" or "mps".
        width: pixels at which a student sees an image; None for its own choice.
    Raises:
        GoodSAMError: a subject or data set that is not there or not readable, or label sets that do not fit.
    """
    if projection not in (None, "panorama", "photo"):
        raise GoodSAMError(f"--projection {projection}: must be panorama or photo.")
    if limit is not None and limit < 1:
        raise GoodSAMError(f"--limit {limit}: must be at least 1.")
    scales = parse_scales(view_scale)
    if scales is None:
        raise GoodSAMError("--view-scale auto: is for runs on unlabelled panoramas; give numbers here, such as 1,1.5.")
    dataset = parse_data(data)
    projection = projection or dataset.projection or "panorama"
    vfov = dataset.vfov if vfov is None else vfov
    predict = load_subject(subject, dataset, SubjectOptions(views, scales, device, width))
    scores = Scores(dataset.label_set)
    for stem, image_path, label_path in list(dataset)[:limit]:
        labels = dataset.read_labels(label_path)
        image: Image
        if projection == "photo":
            image, geometry = read_photo(image_path), None
        else:
            image = read_panorama(image_path, vfov, horizon)
            geometry = _at_size(image.geometry, labels.shape)
        scores.add(labels, resize_labels(predict(stem, image), labels.shape), geometry)
    evaluation = scores.result(subject, data)
    path = _metrics_path(subject, out)
    if path is not None:
        files.write_json(path, evaluation.to_json())
        log.info("%s: written.", path)
    return evaluation


def resize_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A label map (h, w) at another size (H, W), nearest neighbour."""
    if labels.shape == tuple(size):
        return labels
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def _at_size(geometry: Geometry, size: tuple[int, ...]) -> Geometry:
    """The same band of the sphere on a grid of another size (H, W)."""
    return Geometry(size[0], size[1], geometry.vfov, geometry.horizon * size[0] / geometry.height)


def _metrics_path(subject: str, out: Path | str | None) -> Path | None:
    if out is not None:
        return Path(out) if Path(out).suffix == ".json" else Path(out) / "metrics.json"
    kind, _, where = subject.partition(":")
    run = Path(where).resolve().parent
    return run / "metrics.json" if kind == "student" and (run / "run.yaml").is_file() else None


def table(evaluation: Evaluation) -> Table:
    """Intersection over union by class, then the totals, in percent."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.2f}"

    title = f"{evaluation.subject}\n{evaluation.data}\n{evaluation.images} images"
    widest = max(map(len, title.split("\n")))
    result = Table(title=title, min_width=min(widest, 100))  # else the title is folded to the table's own width
    result.add_column(evaluation.label_set)
    result.add_column("IoU, %", justify="right")
    for name, value in evaluation.per_class.items():
        result.add_row(name, percent(value))
    result.add_section()
    totals = {
        "mIoU": evaluation.miou,
        "mIoU by solid angle": evaluation.miou_sphere,
        "mIoU near the seam": evaluation.seam_miou,
        "pixel accuracy": evaluation.pixel_accuracy,
        "boundary F1": evaluation.boundary_f1,
        "coverage": evaluation.coverage,
    }
    for name, value in totals.items():
        result.add_row(name, percent(value))
    return result
