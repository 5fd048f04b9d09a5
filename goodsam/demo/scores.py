"""How well every step does on the labelled test strips, which nothing has learned from."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from goodsam import files, weights
from goodsam.datasets import parse_data
from goodsam.demo.options import DemoOptions
from goodsam.demo.times import Steps
from goodsam.evaluation import evaluate
from goodsam.metrics import confusion_matrix, iou_of
from goodsam.panorama import read_panorama
from goodsam.subjects import SubjectOptions, load_subject


@dataclass(frozen=True)
class Subject:
    """A step of the method, as something that labels test strips."""

    key: str
    """In metrics.json."""
    name: str
    """For people."""
    about: str
    """What it is, a sentence without its full stop."""
    subject: str
    """As `goodsam evaluate` takes it."""
    views: str = "crops"
    """How an assistant sees a panorama."""


def subjects(out: Path, options: DemoOptions) -> tuple[Subject, ...]:
    """The steps that are scored, in the order in which the method takes them."""
    return (
        Subject("start", "Student before", "has learned from ordinary pictures alone", f"student:{options.init}"),
        Subject(
            "assistant_whole",
            "Assistant, whole",
            "sees the panorama at once, as if it were an ordinary picture",
            f"assistant:{options.assistant}",
            "whole",
        ),
        Subject(
            "assistant_views",
            "Assistant, views",
            "sees overlapping windows of 90 degrees, and its probabilities are merged",
            f"assistant:{options.assistant}",
        ),
        Subject(
            "ensemble",
            "Ensemble",
            "the same, fused with the teacher's masks: what the student learns from",
            f"labels:{out / 'test-run' / 'labels'}",
        ),
        Subject(
            "student",
            "Student after",
            "has learned from ensembles of unlabelled panoramas, and needs one pass without teacher and assistant",
            f"student:{out / 'run' / 'student'}",
        ),
    )


def label_maps(out: Path, subject: Subject) -> Path:
    """The folder of a subject's label maps of the test strips."""
    kind, _, where = subject.subject.partition(":")
    return Path(where) if kind == "labels" else out / "predictions" / subject.key


def predict(out: Path, subject: Subject, options: DemoOptions, steps: Steps) -> None:
    """Write the subject's label maps of the test strips, uint8 PNG in the street world's classes, where missing."""
    if subject.subject.startswith("labels:"):
        return
    folder, data = label_maps(out, subject), parse_data(f"streetworld:{out / 'test'}")
    made_with = _made_with(subject) | {"strips": files.read_json(out / "test" / "made_with.json")}
    record = folder.with_suffix(".json")
    if not record.is_file() or files.read_json(record) != made_with:
        shutil.rmtree(folder, ignore_errors=True)
        files.write_json(record, made_with)
    todo = [item for item in list(data)[: options.test] if not (folder / f"{item[0]}.png").is_file()]
    steps.measure(f"predict {subject.key}", lambda: files.fingerprint_of(made_with))
    if not todo:
        return
    look = load_subject(subject.subject, data, SubjectOptions(views=subject.views, device=options.device)).predict
    for stem, image, _ in steps.track(todo, len(todo), subject.name):
        steps.note(subject.name)
        files.write_image(folder / f"{stem}.png", look(stem, read_panorama(image, data.vfov)))


def _made_with(subject: Subject) -> dict[str, Any]:
    """What decides a subject's label maps."""
    kind, _, where = subject.subject.partition(":")
    path = Path(where)
    if path.is_file():  # an ONNX assistant
        used = [files.sha256_of(path)]
    else:
        folder = weights.resolve(where, "--assistant") if kind == "assistant" else _student_folder(where)
        used = [item.sha256 for item in weights.weight_files(where, folder)]
    return {"subject": kind, "views": subject.views if kind == "assistant" else None, "weights": used}


def _student_folder(where: str) -> Path:
    return weights.resolve(where, "student") if where == weights.STREET else Path(where)


@dataclass(frozen=True)
class Score:
    """Where a subject's evaluation is kept, and what it must have been made from."""

    subject: Subject
    path: Path
    fingerprint: str

    def read(self) -> dict[str, Any] | None:
        """The evaluation as JSON; None where there is none of these label maps and labels."""
        known = files.read_json(self.path) if self.path.is_file() else {}
        return known["evaluation"] if known.get("fingerprint") == self.fingerprint else None


def _score(out: Path, subject: Subject, options: DemoOptions) -> Score:
    data, folder = f"streetworld:{out / 'test'}", label_maps(out, subject)
    pairs = [(folder / f"{stem}.png", labels) for stem, _, labels in list(parse_data(data))[: options.test]]
    about = [subject.subject, data, [[files.sha256_of(path) for path in pair] for pair in pairs]]
    return Score(subject, out / "evaluations" / f"{subject.key}.json", files.fingerprint_of(about))


def score_all(out: Path, options: DemoOptions, steps: Steps) -> dict[str, dict[str, Any]]:
    """Label maps and evaluations of every step; writes `OUT/metrics.json` and returns what it holds.

    The label maps are scored as they lie on disk, so that the report's pictures are what its figures are about.
    """
    for subject in subjects(out, options):
        predict(out, subject, options, steps)
    scores = [_score(out, subject, options) for subject in subjects(out, options)]
    todo = [score for score in scores if score.read() is None]
    steps.measure("score", lambda: files.fingerprint_of([score.fingerprint for score in scores]))
    for score in steps.track(todo, len(todo), "score"):
        steps.note("scores")
        found = evaluate(f"labels:{label_maps(out, score.subject)}", f"streetworld:{out / 'test'}", limit=options.test)
        weights = [] if score.subject.subject.startswith("labels:") else _made_with(score.subject)["weights"]
        evaluation = replace(found, subject=score.subject.subject, weights=weights).to_json()
        files.write_json(score.path, {"fingerprint": score.fingerprint, "evaluation": evaluation})
    metrics = {score.subject.key: score.read() or {} for score in scores}
    path = out / "metrics.json"
    if not path.is_file() or files.read_json(path) != metrics:
        files.write_json(path, metrics)
    return metrics


def miou_of_strip(labels: np.ndarray, prediction: np.ndarray, classes: int) -> float:
    """Mean intersection over union of one strip over the classes that its labels have, 0..1."""
    return float(np.nanmean(iou_of(confusion_matrix(labels, prediction, classes))))
