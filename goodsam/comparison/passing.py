"""Several subjects on one data set, in one pass: who is better than the first, by how much, and how sure that is."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from goodsam import files
from goodsam.comparison import page
from goodsam.comparison.entrant import Entrant
from goodsam.comparison.pictures import Gallery
from goodsam.comparison.result import Compared, Comparison
from goodsam.datasets import parse_data
from goodsam.errors import GoodSAMError
from goodsam.evaluation import checked_workers, sight_of, subject_options
from goodsam.metrics import Scores
from goodsam.progress import Progress, Silent
from goodsam.scoring import score
from goodsam.subjects import load_subject

log = logging.getLogger(__name__)


def compare(
    subjects: Sequence[str],
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
) -> Comparison:
    """Compare subjects with the labels of a data set and with the first of them; each one's figures are `evaluate`'s.

    Args:
        subjects: two or more, each as `evaluation.evaluate` takes it; the others are compared with the first.
        data, views, view_scale, projection, vfov, horizon, limit, device, width, workers: as for `evaluation.evaluate`.
        out: a folder for compare.json and compare.html; None writes nothing, and makes no pictures.
        progress: shows how far it has come.
    Raises:
        GoodSAMError: fewer than two subjects, a subject or data set that is not there or not readable, or label sets
            that do not fit.
    """
    if len(subjects) < 2:
        given = subjects[0] if subjects else "SUBJECT"
        raise GoodSAMError(
            f"compare {' '.join(subjects)}: takes two subjects or more; for one, "
            f"goodsam evaluate {given} --data {data}."
        )
    folder = _folder(out)
    dataset = parse_data(data)
    sight = sight_of(dataset, projection, vfov, horizon)
    options = subject_options(views, view_scale, device, width)
    workers = checked_workers(limit, workers)
    entrants = [Entrant(load_subject(subject, dataset, options), Scores(dataset.label_set)) for subject in subjects]
    galleries = [Gallery(place, dataset.label_set) for place in range(1, len(entrants))] if folder else []
    found = score([entrant.watched for entrant in entrants], dataset, sight, limit=limit, workers=workers)
    for scored in (progress or Silent()).track(found, min(len(dataset), limit or len(dataset)), "compare"):
        for entrant, counts in zip(entrants, scored.counts, strict=True):
            entrant.scores.add_counts(counts)
        for gallery in galleries:
            gallery.look(scored)
    comparison = Comparison(data, dataset.label_set, workers, _compared(entrants, data, galleries))
    if folder is not None:
        files.write_json(folder / "compare.json", comparison.to_json())
        files.write_text(folder / "compare.html", page.html_of(comparison))
        log.info("%s: written, and compare.json beside it.", folder / "compare.html")
    return comparison


def _compared(entrants: Sequence[Entrant], data: str, galleries: Sequence[Gallery]) -> list[Compared]:
    """All of them, the first alone, with the galleries of the others where there are any."""
    first, *others = entrants
    own, *names = distinct([entrant.subject.name for entrant in entrants])
    shown: Sequence[Gallery | None] = galleries or [None] * len(others)
    compared = [other.against(first, name, data, one) for other, name, one in zip(others, names, shown, strict=True)]
    return [first.alone(own, data), *compared]


def _folder(out: Path | str | None) -> Path | None:
    """Where to write, refused before anything is computed.

    Raises:
        GoodSAMError: it is a file, or named like one.
    """
    folder = None if out is None else Path(out)
    if folder is not None and (folder.is_file() or folder.suffix in (".json", ".html")):
        raise GoodSAMError(f"--out {folder}: must be a folder; compare.json and compare.html are written into it.")
    return folder


def distinct(names: Sequence[str]) -> list[str]:
    """Names of which no two are equal: the second of a name has " (2)" after it, and so on."""
    result: list[str] = []
    for name in names:
        number, own = 1, name
        while own in result:
            number += 1
            own = f"{name} ({number})"
        result.append(own)
    return result
