"""A run's panoramas before and after fusion on one sheet for looking at: photo, assistant, ensemble, student.

python tools/ensemble_sheet.py RUN OUT.jpg [STEM ...] [--student DIR]    # by default the first twelve with labels
"""

import argparse
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from goodsam import drawing, predictor
from goodsam.images import read_label_map, read_photo
from goodsam.labels import IGNORE, LabelSet
from goodsam.run import Run
from goodsam.targets import read_probabilities

WIDTH = 1024
"""Of a panorama on the sheet, pixels."""


def rows_of(
    run: Run, stem: str, photo: Path, label_set: LabelSet, student: predictor.Predictor | None
) -> list[tuple[str, np.ndarray]]:
    """Caption and picture of each of the three, or of the four with a student."""
    after = read_label_map(run.file("labels", stem))
    stored, _ = read_probabilities(run.file("assistant_probs", stem)).dense(len(label_set))
    merged = F.interpolate(stored[None], after.shape, mode="bilinear", align_corners=False)[0]
    before = np.where(after == IGNORE, IGNORE, merged.argmax(0).numpy()).astype(np.uint8)
    moved = 100 * (before != after)[after != IGNORE].mean()
    pictures = [
        (stem, drawing.narrowed(read_photo(photo), WIDTH, True)),
        ("assistant", drawing.narrowed(label_set.colorize(before), WIDTH, False)),
        (f"ensemble, {moved:.1f} % of the pixels changed", drawing.narrowed(label_set.colorize(after), WIDTH, False)),
    ]
    if student is not None:
        labels = student.predict(photo).labels
        same = 100 * (labels == after)[after != IGNORE].mean()
        picture = drawing.narrowed(student.label_set.colorize(labels), WIDTH, False)
        pictures.append((f"student, {same:.1f} % of the pixels as the ensemble", picture))
    return pictures


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("stems", nargs="*")
    parser.add_argument("--student", type=Path, help="a RUN/student folder, of this run or another")
    options = parser.parse_args()
    run = Run(options.run)
    made, known = run.record("label")["made_with"], run.inputs()
    label_set = LabelSet(made["label_set"], tuple(made["classes"]), tuple((r, g, b) for r, g, b in made["colors"]))
    labelled = [stem for stem in known if run.file("labels", stem).exists()]
    student = predictor.load(options.student) if options.student else None
    strips: list[tuple[str, np.ndarray]] = []
    for stem in options.stems or labelled[:12]:
        strips += rows_of(run, stem, Path(known[stem]["path"]), label_set, student)
    shares = np.zeros(len(label_set))
    for stem in options.stems or labelled[:12]:
        shares += np.bincount(read_label_map(run.file("labels", stem)).ravel(), minlength=256)[: len(label_set)]
    key = drawing.legend(label_set, shares / max(shares.sum(), 1), WIDTH)
    drawing.stack(options.out, [*strips, ("classes and their share of the pixels", key)])


if __name__ == "__main__":
    main()
