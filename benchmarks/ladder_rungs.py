"""The rungs of the ladder: what each was made with, and how it labels a panorama.

A rung is a function of the ladder and the pictures; it returns what decides its result, as JSON values, and a function
from stem to label map. What it needs of earlier stages (masks, a trained student) it has made when it returns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ladder_data import Pictures
from ladder_scores import LABEL_SET, Label, label_map
from ladder_steps import fused, fusion_options, majority_vote, whole_tuned
from ladder_students import STUDENTS, student_run
from ladder_world import (
    ADAPTED,
    ADAPTED_OURS,
    ADAPTED_REGIONS,
    BOUNDED,
    CARLESS,
    CONSISTENT,
    CROPS,
    EVERYTHING,
    OURS,
    PERFECT,
    PERFECT_VOTE,
    REGIONS,
    SCALED,
    START,
    TANGENT,
    TUNED,
    VIEWS,
    VOTE,
    WHOLE,
    Ladder,
)

from goodsam import files, predictor
from goodsam.images import read_label_map
from goodsam.masks import PanoramaMasks, read_masks
from goodsam.subjects import label_table
from goodsam.teachers.assistant import (
    merged_probabilities,
)
from goodsam.views import lay_views

Made = tuple[dict[str, Any], Label]
Maker = Callable[[Ladder, Pictures, int], Made]


@dataclass(frozen=True)
class Rung:
    """A step of the ladder."""

    make: Maker
    """Ladder, pictures and seed -> what decides the result, as JSON values, and a function from stem to label map."""
    against: tuple[str, ...] = ()
    """The rungs that its mIoU is compared with, where they take the same pictures."""
    trained: bool = False
    """Whether it is done with several seeds."""
    only: str | None = None
    """The one kind of pictures that it is for; None for all."""
    slow: int = 0
    """Where above 0, it is climbed on the first pictures alone: `--slow` over this many."""

    def takes(self, pictures: Pictures) -> bool:
        """Whether it is for these pictures."""
        return self.only in (None, pictures.name)

    def part(self, pictures: Pictures, slow: int) -> Pictures:
        """The pictures that it is climbed on."""
        return pictures.first(max(1, slow // self.slow)) if self.slow else pictures


def once(make: Callable[[Ladder, Pictures], Made]) -> Maker:
    """A rung without a seed."""
    return lambda ladder, pictures, _: make(ladder, pictures)


def views_of(pictures: Pictures) -> str:
    """The rung whose views the masks of these pictures are fused on."""
    return CROPS if pictures.camera == "strip" else TANGENT


def student_start(ladder: Ladder, pictures: Pictures) -> Made:
    """The student's start, which has seen pinhole pictures alone."""
    return ladder.hashes("--init"), _by_student(ladder, pictures, ladder.options.start)


def student(name: str) -> Maker:
    """A student distilled on the unlabelled strips, whatever it is tested on."""

    def rung(ladder: Ladder, pictures: Pictures, seed: int) -> Made:
        run = student_run(ladder, name, seed)
        return {"train": run.record("train")["fingerprint"]}, _by_student(ladder, pictures, str(run.student))

    return rung


def _by_student(ladder: Ladder, pictures: Pictures, name: str) -> Label:
    loaded = predictor.load(name, str(ladder.device))
    ids = label_table(f"student:{name}", loaded.label_set, LABEL_SET)
    return lambda stem: ids[loaded.predict(pictures.panorama(stem)).labels]


def assistant_views(kind: str) -> Maker:
    """The assistant on views of one kind, merged."""

    def rung(ladder: Ladder, pictures: Pictures, _: int) -> Made:
        def label(stem: str) -> np.ndarray:
            panorama = pictures.panorama(stem)
            views = lay_views(panorama.geometry, kind)
            return merged_probabilities(ladder.assistant, panorama, views).argmax(0).byte().numpy()

        return {"assistant": ladder.assistant.options(), "views": kind, **ladder.hashes("--assistant")}, label

    return rung


def assistant_tuned(ladder: Ladder, pictures: Pictures) -> Made:
    """The assistant on the whole panorama at the scale where it is surest: wrapped, and mirrored as well."""
    scale = next(entry["scale"] for entry in ladder.scales(pictures.name) if entry["chosen"])

    def label(stem: str) -> np.ndarray:
        return whole_tuned(ladder.assistant, pictures.panorama(stem), scale).argmax(0).byte().numpy()

    return {"assistant": ladder.assistant.options(), "scale": scale, **ladder.hashes("--assistant")}, label


def carless(ladder: Ladder, pictures: Pictures) -> Made:
    """The assistant on the views that masks are fused on, the camera car hidden: where fusion and adaptation start."""

    return _starts_from(ladder, pictures), lambda stem: arg_max(ladder.merged(CARLESS, pictures, stem))


def _starts_from(ladder: Ladder, pictures: Pictures) -> dict[str, Any]:
    cars = [files.fingerprint_of(np.packbits(car.mask).tolist()) for car in ladder.cars(pictures)]
    return {"assistant": ladder.assistant.options(), "cars": cars, **ladder.hashes("--assistant")}


def scaled(ladder: Ladder, pictures: Pictures) -> Made:
    """The same at the scales that `--view-scale auto` takes, with the whole panorama (`--whole-view`)."""
    made_with = _starts_from(ladder, pictures) | {"scales": ladder.view_scales(pictures)}
    return made_with, lambda stem: arg_max(ladder.merged(SCALED, pictures, stem))


def adapted(name: str, fusion: str | None = None) -> Maker:
    """The adapted assistant on the same views, with or without our fusion of the masks of `teacher` or of `both`."""

    def rung(ladder: Ladder, pictures: Pictures, seed: int) -> Made:
        run = ladder.teacher_masks(pictures)

        def label(stem: str) -> np.ndarray:
            merged = ladder.merged(name, pictures, stem, seed)
            if fusion is None:
                return arg_max(merged)
            alone = fusion == "teacher"
            masks = read_masks(run.file("masks", stem)) if alone else ladder.masks_and_regions(run, pictures, stem)
            return arg_max(fused(merged, masks, pictures.panorama(stem).geometry))

        made_with = _starts_from(ladder, pictures) | {
            "adapted": [item.sha256 for item in ladder.adapted(name, seed).weights]
        }
        if fusion:
            made_with |= {"fusion": fusion_options(), "masks": run.record("masks")["fingerprint"]}
        return made_with, label

    return rung


def with_regions(ladder: Ladder, pictures: Pictures) -> Made:
    """Our fusion of the teacher's masks and regions of even colour (`--sam NAME+regions`)."""
    run = ladder.teacher_masks(pictures)

    def label(stem: str) -> np.ndarray:
        masks, merged = ladder.masks_and_regions(run, pictures, stem), ladder.merged(CARLESS, pictures, stem)
        return arg_max(fused(merged, masks, pictures.panorama(stem).geometry))

    made_with = {"fusion": fusion_options(), "masks": run.record("masks")["fingerprint"]}
    return _starts_from(ladder, pictures) | made_with, label


def everything(ladder: Ladder, pictures: Pictures) -> Made:
    """The same from the assistant at two scales and on the whole panorama."""
    run = ladder.teacher_masks(pictures)
    made_with = with_regions(ladder, pictures)[0] | {"scales": ladder.view_scales(pictures)}

    def label(stem: str) -> np.ndarray:
        masks, merged = ladder.masks_and_regions(run, pictures, stem), ladder.merged(SCALED, pictures, stem)
        return arg_max(fused(merged, masks, pictures.panorama(stem).geometry))

    return made_with, label


def arg_max(probabilities: torch.Tensor) -> np.ndarray:
    """float (C, H, W) -> uint8 (H, W)."""
    return probabilities.argmax(0).byte().numpy()


def vote(ladder: Ladder, pictures: Pictures) -> Made:
    """The teacher's masks, each named by the majority of the merged label map."""
    run = ladder.teacher_masks(pictures)
    made_with = {"masks": run.record("masks")["fingerprint"], "base": ladder.fingerprint(CARLESS, pictures)}
    return made_with, _by_vote(ladder, pictures, lambda stem: read_masks(run.file("masks", stem)))


def perfect_vote(ladder: Ladder, pictures: Pictures) -> Made:
    """The same with the true instances."""
    made_with = {"base": ladder.fingerprint(CARLESS, pictures)}
    return made_with, _by_vote(ladder, pictures, lambda stem: ladder.perfect_masks(pictures, stem))


def _by_vote(ladder: Ladder, pictures: Pictures, masks: Callable[[str], PanoramaMasks]) -> Label:
    base = ladder.folder(CARLESS, pictures)
    return lambda stem: majority_vote(label_map(base, stem), masks(stem), pictures.panorama(stem).geometry)


def ours(ladder: Ladder, pictures: Pictures) -> Made:
    """The ensemble of the label stage, as it stands in the run."""
    run = ladder.distilled(pictures, "masks", "label")
    return {"label": run.record("label")["fingerprint"]}, lambda stem: read_label_map(run.file("labels", stem))


def perfect_ours(ladder: Ladder, pictures: Pictures) -> Made:
    """The same fusion of the true instances: its ceiling."""

    def label(stem: str) -> np.ndarray:
        masks, merged = ladder.perfect_masks(pictures, stem), ladder.merged(CARLESS, pictures, stem)
        return arg_max(fused(merged, masks, pictures.panorama(stem).geometry))

    return _starts_from(ladder, pictures) | {"fusion": fusion_options()}, label


RUNGS: dict[str, Rung] = {
    START: Rung(once(student_start)),
    WHOLE: Rung(assistant_views("whole")),
    # Attention over a whole panorama grows with the square of its pixels: about a minute for a strip at scale 2.
    TUNED: Rung(once(assistant_tuned), (WHOLE,), only="strips", slow=3),
    CROPS: Rung(assistant_views("crops"), (WHOLE, TUNED)),
    # On a strip tangent views cost several times as much as crops, and much of what they show lies beyond it.
    TANGENT: Rung(assistant_views("tangent"), (CROPS, WHOLE), only="spheres"),
    CARLESS: Rung(once(carless), (VIEWS,)),
    SCALED: Rung(once(scaled), (CARLESS,)),
    VOTE: Rung(once(vote), (CARLESS,)),
    OURS: Rung(once(ours), (CARLESS, VOTE)),
    REGIONS: Rung(once(with_regions), (CARLESS, OURS)),
    EVERYTHING: Rung(once(everything), (SCALED, REGIONS, WHOLE)),
    CONSISTENT: Rung(adapted(CONSISTENT), (CARLESS,), trained=True, slow=1),
    BOUNDED: Rung(adapted(BOUNDED), (CARLESS,), trained=True, slow=1),
    ADAPTED: Rung(adapted(ADAPTED), (CARLESS,), trained=True, slow=1),
    ADAPTED_OURS: Rung(adapted(ADAPTED, "teacher"), (OURS,), trained=True, slow=1),
    ADAPTED_REGIONS: Rung(adapted(ADAPTED, "both"), (REGIONS, WHOLE), trained=True, slow=1),
    PERFECT: Rung(once(perfect_ours), (CARLESS, OURS)),
    PERFECT_VOTE: Rung(once(perfect_vote), (CARLESS, PERFECT)),
    **{
        name: Rung(
            student(name),
            (*recipe.against, START, OURS, ADAPTED),
            trained=not recipe.once,
            only=None if recipe.everywhere else "strips",
            slow=2,
        )
        for name, recipe in STUDENTS.items()
    },
}
"""All rungs by name, from below."""
