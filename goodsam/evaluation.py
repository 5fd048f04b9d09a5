"""A subject on a data set: metrics.json, and a table for the terminal.

Not named `evaluate`: the package's verb of that name would be hidden by a module's.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.table import Table
from torch.nn import functional as F

from goodsam import files
from goodsam.datasets import Dataset, parse_data
from goodsam.datasets.folder import read_checked_labels
from goodsam.errors import GoodSAMError
from goodsam.images import read_photo
from goodsam.labels import IGNORE, LabelSet, mapping
from goodsam.metrics import Evaluation, Scores
from goodsam.panorama import Geometry, Panorama, read_panorama
from goodsam.views import lay_views

log = logging.getLogger(__name__)

Image = Panorama | np.ndarray
"""A panorama, or a flat photo, uint8 (H, W, 3)."""
Predict = Callable[[str, Image], np.ndarray]
"""Stem and image -> uint8 (h, w) ids of the data's label set, 255 for none; of any size."""


@dataclass(frozen=True)
class _Options:
    """How subjects look at images; see `evaluate`."""

    views: str
    view_scale: float
    device: str
    width: int | None


def evaluate(
    subject: str,
    data: str,
    *,
    views: str = "crops",
    view_scale: float = 1.0,
    projection: Literal["panorama", "photo"] = "panorama",
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
        data: what `datasets.parse_data` takes, such as `folder:IMAGES,LABELS`.
        views: how an assistant sees a panorama: "whole", "crops", "tangent" or "auto".
        view_scale: factor by which an assistant's views are enlarged before it sees them.
        projection: "photo" for ordinary flat photos: nothing wraps, and an assistant sees the whole photo.
        vfov: vertical field of view of panoramas, degrees; None for square pixels.
        horizon: row of pitch 0 in the image, pixels from the upper edge; None for the middle.
        out: a folder for metrics.json or a .json file; None writes only for a student in a run, to RUN/metrics.json.
        limit: the first so many images alone.
        device: "auto", "cpu", "cuda" or "mps".
        width: pixels at which a student sees an image; None for its own choice.
    Raises:
        GoodSAMError: a subject or data set that is not there or not readable, or label sets that do not fit.
    """
    if projection not in ("panorama", "photo"):
        raise GoodSAMError(f"--projection {projection}: must be panorama or photo.")
    if limit is not None and limit < 1:
        raise GoodSAMError(f"--limit {limit}: must be at least 1.")
    dataset = parse_data(data)
    predict = _load_subject(subject, dataset, _Options(views, view_scale, device, width))
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


def _load_subject(subject: str, dataset: Dataset, options: _Options) -> Predict:
    kind, colon, where = subject.partition(":")
    if not colon or not where or kind not in SUBJECTS:
        raise GoodSAMError(f"subject {subject!r}: must be student:DIR, assistant:ID or labels:DIR.")
    return SUBJECTS[kind](where, dataset, options)


def _student(where: str, dataset: Dataset, options: _Options) -> Predict:
    from goodsam.predictor import load  # transformers takes seconds to import, and label maps on disk need none of it

    student = load(where, device=options.device)
    ids = label_table(f"student:{where}", student.label_set, dataset.label_set)

    def predict(_: str, image: Image) -> np.ndarray:
        return ids[student.predict(image, wrap=isinstance(image, Panorama), width=options.width).labels]

    return predict


def label_table(subject: str, source: LabelSet, target: LabelSet) -> np.ndarray:
    """What each id of one label set is in another: uint8 (256,), 255 where it is nothing there.

    Our choice for hard labels: a class that no target class is made of becomes 255, which counts as wrong.

    Raises:
        GoodSAMError: a target class that the subject does not have.
    """
    ids = np.full(256, IGNORE, dtype=np.uint8)
    if source.names == target.names:
        ids[: len(source)] = np.arange(len(source))
        return ids
    try:
        matrix = mapping(source.names, target).numpy()
    except GoodSAMError as error:
        raise GoodSAMError(
            f"{subject}: its label set {source.name} cannot be mapped to {target.name}, that of the data: {error}"
        ) from error
    ids[: len(source)] = np.where(matrix.any(0), matrix.argmax(0), IGNORE)
    return ids


def _assistant(where: str, dataset: Dataset, options: _Options) -> Predict:
    from goodsam.progress import pick_device
    from goodsam.teachers.assistant import load_assistant, merged_probabilities

    device = pick_device(options.device)
    try:
        assistant = load_assistant(where, label_set=dataset.label_set_source, device=device)
    except GoodSAMError as error:
        raise GoodSAMError(
            f"assistant:{where}: cannot be asked for {dataset.label_set.name}, the label set of the data: {error}"
        ) from error

    def predict(_: str, image: Image) -> np.ndarray:
        if isinstance(image, Panorama):
            laid = lay_views(image.geometry, options.views)
            probabilities = merged_probabilities(assistant, image, laid, options.view_scale)
        else:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            size = tuple(max(1, round(side * options.view_scale)) for side in image.shape[:2])
            seen = pixels if options.view_scale == 1 else F.interpolate(pixels, size, mode="bilinear", antialias=True)
            output = assistant.predict(seen).probabilities
            probabilities = F.interpolate(output, image.shape[:2], mode="bilinear", align_corners=False)[0]
        return probabilities.argmax(0).byte().cpu().numpy()

    return predict


def _labels(where: str, dataset: Dataset, options: _Options) -> Predict:
    folder = Path(where)
    if not folder.is_dir():
        raise GoodSAMError(f"labels:{where}: no such folder; give one of label maps, such as RUN/labels.")

    def predict(stem: str, _: Image) -> np.ndarray:
        path = folder / f"{stem}.png"
        if not path.is_file():
            raise GoodSAMError(f"{path}: missing; labels:{where} needs a label map for every image of the data.")
        return read_checked_labels(path, dataset.label_set)

    return predict


SUBJECTS: dict[str, Callable[[str, Dataset, _Options], Predict]] = {
    "student": _student,
    "assistant": _assistant,
    "labels": _labels,
}
"""Kind -> what makes the prediction function of the text after the colon."""


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
