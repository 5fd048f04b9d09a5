"""A subject on a data set: metrics.json, and a table for the terminal.

Not named `evaluate`: the package's verb of that name would be hidden by a module's.
"""

import logging
import os
import time
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from goodsam import files
from goodsam.config import parse_scales
from goodsam.datasets import Dataset, parse_data
from goodsam.errors import GoodSAMError
from goodsam.metrics import Evaluation, Scores
from goodsam.progress import Progress, Silent
from goodsam.scoring import Sight, resize_labels, score
from goodsam.subjects import Subject, SubjectOptions, load_subject

__all__ = ["evaluate", "resize_labels", "table"]

log = logging.getLogger(__name__)

KEEP_EVERY = 20.0
"""Seconds between two looks at the clock after which what has been counted is kept on disk."""


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
    workers: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compare a subject's label maps with the labels of a data set, at the labels' own size.

    Label sets that differ are mapped: an assistant's probabilities are, and label maps by class, 255 where the data has
    no such class. A network's evaluation that was interrupted goes on where it was, if there is a file to write.

    Args:
        subject: `student:DIR`, `assistant:ID`, or `labels:DIR` (label maps of the same stems, .png, in the label set of
            the run that they lie in, else of the data), with options of its own as in `assistant:ID,views=whole`.
        data: what `datasets.parse_data` takes, such as `folder:IMAGES,LABELS` or `densepass:ROOT`.
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
        workers: threads that read and count beside the network; None for one per core, four at most.
        progress: shows how far it has come.
    Raises:
        GoodSAMError: a subject or data set that is not there or not readable, or label sets that do not fit.
    """
    dataset = parse_data(data)
    sight = sight_of(dataset, projection, vfov, horizon)
    options = subject_options(views, view_scale, device, width)
    workers = checked_workers(limit, workers)
    loaded = load_subject(subject, dataset, options)
    path = _metrics_path(subject, out)
    scores = Scores(dataset.label_set)
    number = min(len(dataset), limit or len(dataset))
    kept = _Kept(path, scores, loaded, [data, str(sight), str(options), [item[0] for item in dataset][:number]])
    first = kept.restore()
    found = score([loaded], dataset, sight, first=first, limit=limit, workers=workers)
    for scored in (progress or Silent()).track(found, number - first, "evaluate"):
        scores.add_counts(scored.counts[0])
        kept.tick()
    evaluation = scores.result(subject, data, loaded.weights)
    if path is not None:
        files.write_json(path, evaluation.to_json())
        log.info("%s: written.", path)
    kept.forget()
    return evaluation


def sight_of(
    dataset: Dataset, projection: Literal["panorama", "photo"] | None, vfov: float | None, horizon: float | None
) -> Sight:
    """How a data set's images are looked at: as asked for, else as it says, else as panoramas of square pixels.

    Raises:
        GoodSAMError: another projection.
    """
    if projection not in (None, "panorama", "photo"):
        raise GoodSAMError(f"--projection {projection}: must be panorama or photo.")
    return Sight(projection or dataset.projection or "panorama", dataset.vfov if vfov is None else vfov, horizon)


def subject_options(views: str, view_scale: float | str, device: str, width: int | None) -> SubjectOptions:
    """How subjects look at images.

    Raises:
        GoodSAMError: scales that are not numbers.
    """
    scales = parse_scales(view_scale)
    if scales is None:
        raise GoodSAMError("--view-scale auto: is for runs on unlabelled panoramas; give numbers here, such as 1,1.5.")
    return SubjectOptions(views, scales, device, width)


def checked_workers(limit: int | None, workers: int | None) -> int:
    """The number of threads.

    Raises:
        GoodSAMError: a limit or number of threads under 1.
    """
    for option, value in (("--limit", limit), ("--workers", workers)):
        if value is not None and value < 1:
            raise GoodSAMError(f"{option} {value}: must be at least 1.")
    return workers or min(4, os.cpu_count() or 1)


class _Kept:
    """What has been counted, kept beside metrics.json while a network is evaluated.

    Args:
        path: of metrics.json; None keeps nothing.
        scores: to keep and to restore.
        subject: with its weights; label maps have none, may change, and are read again.
        about: all else that the counts depend on.
    """

    def __init__(self, path: Path | None, scores: Scores, subject: Subject, about: list[object]) -> None:
        keeps = path is not None and subject.weights
        self._path = path.with_suffix(".partial.npz") if path is not None and keeps else None
        self._scores = scores
        self._fingerprint = files.fingerprint_of([subject.name, list(subject.weights), scores.label_set.names, *about])
        self._last = time.monotonic()

    def restore(self) -> int:
        """Number of images that were counted before."""
        if self._path is None or not self._path.is_file():
            return 0
        state = files.read_npz(self._path)
        if str(state.pop("fingerprint")) != self._fingerprint:
            return 0
        self._scores.restore(state)
        log.info("evaluate: goes on after %d images that were counted before.", self._scores.images)
        return self._scores.images

    def tick(self) -> None:
        """One more image was counted."""
        if self._path is not None and time.monotonic() - self._last >= KEEP_EVERY:
            files.write_npz(self._path, fingerprint=np.array(self._fingerprint), **self._scores.state())
            self._last = time.monotonic()

    def forget(self) -> None:
        """All is counted."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _metrics_path(subject: str, out: Path | str | None) -> Path | None:
    if out is not None:
        return Path(out) if Path(out).suffix == ".json" else Path(out) / "metrics.json"
    kind, _, where = subject.partition(",width=")[0].partition(":")
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
    if evaluation.miou_interval is not None:
        low, high = evaluation.miou_interval
        result.add_row("mIoU, 95 % interval over images", f"{100 * low:.2f} to {100 * high:.2f}")
    result.add_row("ignored pixels", f"{percent(evaluation.ignored_share)} ({evaluation.ignored:,})")
    if evaluation.latitudes:
        result.add_section()
    for band in evaluation.latitudes or ():
        name = f"mIoU, pitch {band['from']:+.0f} to {band['to']:+.0f} ({percent(band['share'])} % of the view)"
        result.add_row(name, percent(band["miou"]))
    return result
