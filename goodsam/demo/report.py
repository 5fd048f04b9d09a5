"""`OUT/report.html` and `OUT/demo.jpg`: gathers what the demo left on disk, and draws the pictures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from goodsam import __version__, files
from goodsam.dar.merging import merge_masks
from goodsam.datasets import parse_data
from goodsam.datasets.folder import read_checked_labels
from goodsam.demo import page
from goodsam.demo.curve import training_curve
from goodsam.demo.options import LABEL_SET, DemoOptions
from goodsam.demo.page import Panorama, Picture, Row
from goodsam.demo.pictures import label_picture
from goodsam.demo.scores import Subject, label_maps, miou_of_strip, subjects
from goodsam.demo.times import Steps, Times
from goodsam.drawing import jpeg, mask_picture, narrowed, stack
from goodsam.files import fingerprint_of
from goodsam.images import read_photo
from goodsam.labels import LABEL_SETS
from goodsam.masks import read_masks
from goodsam.panorama import geometry_of
from goodsam.run import Run

SMOOTH = ("image", "masks")
"""Pictures that are no label maps."""
PAGE_WIDTH, PICTURE_WIDTH = 1280, 1024
"""Width of a strip in the report and in demo.jpg, pixels."""
_FINGERPRINT = '<meta name="made-from" content="{}">'


@dataclass(frozen=True)
class Strip:
    """A test strip: its pixels and labels, and where its masks lie."""

    stem: str
    image: np.ndarray
    """uint8 (H, W, 3)."""
    truth: np.ndarray
    """uint8 (H, W), class ids, 255 on the camera's own car."""
    masks: Path


def write(out: Path, options: DemoOptions, metrics: dict[str, Any], rows: list[Row], steps: Steps) -> None:
    """Write page and picture, unless they were made from the same already.

    Args:
        out: the demo's folder.
        options: of the demo.
        metrics: as in metrics.json.
        rows: what each step took.
        steps: shows how far it is.
    """
    chosen = subjects(out, options)
    items = list(parse_data(f"streetworld:{out / 'test'}"))[: min(options.shown, options.test)]
    test_run, journal = Run(out / "test-run"), out / "run" / "train" / "metrics.jsonl"
    shown = [path for stem, image, truth in items for path in (image, truth, test_run.file("masks", stem))]
    shown += [label_maps(out, subject) / f"{stem}.png" for stem, _, _ in items for subject in chosen]
    own = [path for path in sorted(Path(__file__).parent.iterdir()) if path.is_file()]
    about = [metrics, [asdict(row) for row in rows], json.loads(json.dumps(asdict(options))), weights_used(out)]
    fingerprint = fingerprint_of([about, __version__, [files.sha256_of(path) for path in [*shown, journal, *own]]])
    mark = _FINGERPRINT.format(fingerprint)
    path, picture = out / "report.html", out / "demo.jpg"
    if path.is_file() and picture.is_file() and mark in path.read_text():
        return
    steps.measure("", lambda: "")
    panoramas = []
    for number, (stem, image, truth) in enumerate(steps.track(items, len(items), "report")):
        labels = read_checked_labels(truth, LABEL_SETS[LABEL_SET])
        strip = Strip(stem, read_photo(image), labels, test_run.file("masks", stem))
        pictures = draw(out, strip, chosen, options)
        panoramas.append(Panorama(stem, [_embedded(picture) for picture in pictures]))
        if number == 0:
            _write_picture(picture, pictures)
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    curve = training_curve([entry["step"] for entry in entries], [entry["loss"] for entry in entries])
    content = page.Content(options, chosen, metrics, panoramas, rows, weights_used(out), curve, mark)
    files.write_text(path, page.html_of(content))


@dataclass(frozen=True)
class Drawn:
    """A picture of a strip, not yet of the page's size."""

    key: str
    name: str
    alt: str
    pixels: np.ndarray
    """uint8 (H, W, 3)."""
    miou: float | None = None
    """Of this strip, 0..1; None where the picture is no label map."""


def draw(out: Path, strip: Strip, chosen: Sequence[Subject], options: DemoOptions) -> list[Drawn]:
    """A strip's pictures in the order of the method: image, masks, every step's label map, truth."""
    label_set = LABEL_SETS[LABEL_SET]
    found = read_masks(strip.masks)
    masks = mask_picture(strip.image, merge_masks(found.views, geometry_of(found.size, options.vfov)))
    drawn = [
        Drawn("image", "Panorama", f"Rendered street panorama {strip.stem}, 360 degrees wide", strip.image),
        Drawn("masks", "Teacher: masks without names", f"Outlined regions of panorama {strip.stem}", masks),
    ]
    for subject in chosen:
        if subject.key == "start":
            continue
        labels = read_checked_labels(label_maps(out, subject) / f"{strip.stem}.png", label_set)
        miou = miou_of_strip(strip.truth, labels, len(label_set))
        alt = f"{subject.name}: classes of panorama {strip.stem} by colour"
        drawn.append(Drawn(subject.key, subject.name, alt, label_picture(labels, strip.truth, label_set), miou))
    truth = label_picture(strip.truth, strip.truth, label_set)
    drawn.append(Drawn("truth", "Truth", f"True classes of panorama {strip.stem} by colour", truth))
    return drawn


def _embedded(drawn: Drawn) -> Picture:
    pixels = narrowed(drawn.pixels, PAGE_WIDTH, smooth=drawn.key in SMOOTH)
    height, width = pixels.shape[:2]
    return Picture(drawn.key, drawn.name, drawn.alt, jpeg(pixels), width, height, drawn.miou)


def _write_picture(path: Path, drawn: list[Drawn]) -> None:
    """The picture for the README: one panorama and what becomes of it."""
    captions = {
        "image": "a test panorama, which the student has never seen",
        "masks": "teacher: where things are, without names",
        "ensemble": "ensemble: the teacher's masks with the assistant's names",
        "student": "student: one small model, one pass over the panorama",
    }
    by_key = {item.key: item for item in drawn}
    strips = [
        (caption, narrowed(by_key[key].pixels, PICTURE_WIDTH, smooth=key in SMOOTH))
        for key, caption in captions.items()
    ]
    stack(path, strips)


def time_rows(out: Path, options: DemoOptions) -> list[Row]:
    """What each step took, over all calls that worked on it, from `OUT/times.json`."""
    times = Times(out / "times.json")
    run, test_run = Run(out / "run"), Run(out / "test-run")

    def stage(of: Run, name: str) -> str:
        return str(of.record(name)["fingerprint"])

    keys = [
        ("Rendering", "render", fingerprint_of(list(options.size)), "panoramas"),
        ("Teacher's masks", "run masks", stage(run, "masks"), "panoramas"),
        ("Assistant, fusion", "run label", stage(run, "label"), "panoramas"),
        ("Training", "run train", stage(run, "train"), "steps"),
        ("Test: masks", "test-run masks", stage(test_run, "masks"), "panoramas"),
        ("Test: ensemble", "test-run label", stage(test_run, "label"), "panoramas"),
    ]
    for subject in subjects(out, options):
        record = out / "predictions" / f"{subject.key}.json"
        if record.is_file():
            made_with = fingerprint_of(files.read_json(record))
            keys.append((f"Test: {subject.name.lower()}", f"predict {subject.key}", made_with, "panoramas"))
    scores = [files.read_json(out / "evaluations" / f"{s.key}.json")["fingerprint"] for s in subjects(out, options)]
    keys.append(("Scores", "score", fingerprint_of(scores), "results"))
    found = [(name, times.taken(key, made_with), unit) for name, key, made_with, unit in keys]
    return [Row(name, taken.seconds, taken.items, unit) for name, taken, unit in found if taken is not None]


def weights_used(out: Path) -> list[dict[str, str]]:
    """Every weight file that took part, with hash and licence, as the run wrote it down, and its role."""
    run = Run(out / "run")
    roles = {"masks": "teacher", "label": "assistant", "train": "student start"}
    return [{"role": role} | item for stage, role in roles.items() for item in run.record(stage).get("weights", [])]
