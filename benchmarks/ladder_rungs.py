"""The rungs of the ladder: what each was made with, and how it labels a panorama.

A rung is a function of the ladder and the pictures; it returns what decides its result, as JSON values, and a function
from stem to label map. What it needs of earlier stages (masks, a trained student) it has made when it returns.
"""

import argparse
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ladder_data import Clock, Pictures
from ladder_scores import LABEL_SET, Label, counts, kept_folder, label_map
from ladder_steps import fused, fusion_options, majority_vote, true_masks, whole_tuned

from goodsam import files, pipeline, predictor, weights
from goodsam.bootstrap import miou_of
from goodsam.config import run_options
from goodsam.ego import hidden, mount_of, read_mounts
from goodsam.images import read_label_map
from goodsam.masks import PanoramaMasks, read_masks
from goodsam.progress import pick_device
from goodsam.run import Run
from goodsam.subjects import label_table
from goodsam.teachers.assistant import Assistant, load_assistant, merged_probabilities
from goodsam.teachers.combined import WITH_REGIONS
from goodsam.views import lay_views
from goodsam.weights import WeightFile

START, WHOLE, TUNED = "start", "assistant whole", "assistant whole, tuned"
CROPS, TANGENT = "assistant crops", "assistant tangent"
VOTE, OURS = "majority vote", "our fusion"
PERFECT, PERFECT_VOTE, STUDENT = "perfect masks, our fusion", "perfect masks, majority vote", "student"
VIEWS = "views"
"""Stands for the views that masks are fused on: crops of strips, tangent views of spheres."""
SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)


class Ladder:
    """What the rungs share.

    Args:
        options: of the command line.
        unlabelled: strips to distil on.
        choosing: kind of test pictures -> unlabelled and labelled (dev) pictures to choose the scale on.
    """

    def __init__(
        self, options: argparse.Namespace, unlabelled: Pictures, choosing: dict[str, tuple[Pictures, Pictures]]
    ) -> None:
        self.options, self.work, self.unlabelled, self.choosing = options, Path(options.work), unlabelled, choosing
        self.device = pick_device(options.device)

    @cached_property
    def assistant(self) -> Assistant:
        """The frozen assistant, asked for the street world's classes."""
        return load_assistant(self.options.assistant, LABEL_SET.name, self.device)

    @cached_property
    def weights(self) -> dict[str, tuple[WeightFile, ...]]:
        """Weight files by the option that names their model."""
        sam, start = self.options.sam.removesuffix(WITH_REGIONS), self.options.start
        return {
            "--sam": () if sam == "regions" else weights.weight_files(sam, weights.resolve(sam, "--sam")),
            "--assistant": self.assistant.weights,
            "--init": weights.weight_files(start, weights.resolve(start, "--init")),
        }

    def hashes(self, *options: str) -> dict[str, list[str]]:
        """sha256 of the weights by option."""
        return {option: [item.sha256 for item in self.weights[option]] for option in options}

    def folder(self, name: str, pictures: Pictures) -> Path:
        """Where a rung's label maps and counts lie."""
        return self.work / "rungs" / pictures.root.name / name.replace(",", "").replace(" ", "-")

    def fingerprint(self, name: str, pictures: Pictures) -> str:
        """Of a rung that has been climbed."""
        return files.read_json(self.folder(name, pictures) / "made.json")["fingerprint"]

    # -- the project's own stages -----------------------------------------------------------------------------------

    def distilled(self, pictures: Pictures, *stages: str) -> Run:
        """The run on these pictures after some stages, at their default options but those of the command line."""
        given = self.options
        options = run_options(
            sam=given.sam, assistant=given.assistant, label_set=LABEL_SET.name, init=given.start, seed=0,
            steps=given.steps, batch_size=given.batch_size, train_size=given.train_size,
            learning_rate=given.learning_rate, vfov=pictures.vfov, limit=len(pictures.stems), device=given.device,
        )  # fmt: skip
        names = {stage: self.clock_name(stage, pictures) for stage in pipeline.STAGES}
        clock = Clock(self.work / "seconds.json", names)
        out = self.work / "runs" / pictures.root.name
        return pipeline.distill(pictures.root / "images", out, options, stages, clock)

    def clock_name(self, stage: str, pictures: Pictures) -> str:
        """What `seconds.json` calls a stage of these models and options."""
        decides: dict[str, Any] = {"sam": self.options.sam, **self.hashes("--sam")}
        if stage != "masks":
            decides |= {"assistant": self.assistant.options(), **self.hashes("--assistant")}
        if stage == "train":
            names = ("steps", "batch_size", "train_size", "learning_rate")
            decides |= {name: getattr(self.options, name) for name in names} | self.hashes("--init")
        return f"{stage} {pictures.root.name} {files.fingerprint_of(decides)[:8]}"

    def teacher_masks(self, pictures: Pictures) -> Run:
        """The run after its masks stage."""
        return self.distilled(pictures, "masks")

    def perfect_masks(self, pictures: Pictures, stem: str) -> PanoramaMasks:
        """The true instances as masks; kept on disk."""
        path = self.work / "masks" / pictures.root.name / f"{stem}.json.gz"
        if not path.exists():
            true_masks(pictures.instances(stem), pictures.panorama(stem).geometry).write(path)
        return read_masks(path)

    # -- the scale of the tuned assistant ----------------------------------------------------------------------------

    def scales(self, kind: str) -> list[dict[str, Any]]:
        """Each scale of the tuned assistant with its mean confidence (label-free), its mIoU on dev, whether chosen.

        Args:
            kind: strips or spheres.
        """
        table: list[dict[str, Any]] = []
        for scale in SCALES:
            folder = self.work / "scales" / self.choosing[kind][0].camera / f"{scale:g}"
            kept_folder(folder, {"assistant": self.assistant.options(), **self.hashes("--assistant")})
            unlabelled, dev = (
                [self._at_scale(p, stem, scale, folder) for stem in p.stems] for p in self.choosing[kind]
            )
            confusion = np.sum([item["confusion"] for item in dev], axis=0)
            confidence = float(np.mean([item["confidence"] for item in unlabelled]))
            table.append(
                {"data": kind, "scale": scale, "confidence": confidence, "dev_miou": float(miou_of(confusion))}
            )
        best = max(table, key=lambda entry: entry["confidence"])
        return [entry | {"chosen": entry is best} for entry in table]

    def _at_scale(self, pictures: Pictures, stem: str, scale: float, folder: Path) -> dict[str, Any]:
        path = folder / f"{pictures.root.name}-{stem}.json"
        if not path.exists():
            confidence, labels = whole_tuned(self.assistant, pictures.panorama(stem), scale).max(0)
            confusion = counts(pictures.labels(stem), labels.byte().numpy())["confusion"]
            files.write_json(path, {"confidence": float(confidence.mean()), "confusion": confusion.tolist()})
        return files.read_json(path)


Rung = Callable[[Ladder, Pictures], tuple[dict[str, Any], Label]]


def views_of(pictures: Pictures) -> str:
    """The rung whose views the masks of these pictures are fused on."""
    return CROPS if pictures.camera == "strip" else TANGENT


def student_start(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
    """The student's start, which has seen pinhole pictures alone."""
    return ladder.hashes("--init"), _by_student(ladder, pictures, ladder.options.start)


def student(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
    """The student distilled on the unlabelled strips, whatever it is tested on."""
    run = ladder.distilled(ladder.unlabelled, *pipeline.STAGES)
    return {"train": run.record("train")["fingerprint"]}, _by_student(ladder, pictures, str(run.student))


def _by_student(ladder: Ladder, pictures: Pictures, name: str) -> Label:
    loaded = predictor.load(name, str(ladder.device))
    ids = label_table(f"student:{name}", loaded.label_set, LABEL_SET)
    return lambda stem: ids[loaded.predict(pictures.panorama(stem)).labels]


def assistant_views(kind: str) -> Rung:
    """The assistant on views of one kind, merged."""

    def rung(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
        def label(stem: str) -> np.ndarray:
            panorama = pictures.panorama(stem)
            views = lay_views(panorama.geometry, kind)
            return merged_probabilities(ladder.assistant, panorama, views).argmax(0).byte().numpy()

        return {"assistant": ladder.assistant.options(), "views": kind, **ladder.hashes("--assistant")}, label

    return rung


def assistant_tuned(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
    """The assistant on the whole panorama at the scale where it is surest: wrapped, and mirrored as well."""
    scale = next(entry["scale"] for entry in ladder.scales(pictures.name) if entry["chosen"])

    def label(stem: str) -> np.ndarray:
        return whole_tuned(ladder.assistant, pictures.panorama(stem), scale).argmax(0).byte().numpy()

    return {"assistant": ladder.assistant.options(), "scale": scale, **ladder.hashes("--assistant")}, label


def vote(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
    """The teacher's masks, each named by the majority of the merged label map."""
    run, base = ladder.teacher_masks(pictures), views_of(pictures)
    made_with = {"masks": run.record("masks")["fingerprint"], "base": ladder.fingerprint(base, pictures)}
    return made_with, _by_vote(ladder, pictures, lambda stem: read_masks(run.file("masks", stem)))


def perfect_vote(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
    """The same with the true instances."""
    made_with = {"base": ladder.fingerprint(views_of(pictures), pictures)}
    return made_with, _by_vote(ladder, pictures, lambda stem: ladder.perfect_masks(pictures, stem))


def _by_vote(ladder: Ladder, pictures: Pictures, masks: Callable[[str], PanoramaMasks]) -> Label:
    base = ladder.folder(views_of(pictures), pictures)
    return lambda stem: majority_vote(label_map(base, stem), masks(stem), pictures.panorama(stem).geometry)


def ours(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
    """The ensemble of the label stage, as it stands in the run."""
    run = ladder.distilled(pictures, "masks", "label")
    return {"label": run.record("label")["fingerprint"]}, lambda stem: read_label_map(run.file("labels", stem))


def perfect_ours(ladder: Ladder, pictures: Pictures) -> tuple[dict[str, Any], Label]:
    """The same fusion of the true instances: its ceiling."""

    run = ladder.distilled(pictures, "masks", "label")
    cars, _ = read_mounts(run.ego)

    def label(stem: str) -> np.ndarray:
        masks, panorama = ladder.perfect_masks(pictures, stem), pictures.panorama(stem)
        car = mount_of(panorama.pixels, cars)
        if car is not None:  # the same start as our fusion has
            panorama = hidden(panorama, car.mask)
        return fused(ladder.assistant, panorama, masks).argmax(0).byte().numpy()

    made_with = {"assistant": ladder.assistant.options(), "fusion": fusion_options(), **ladder.hashes("--assistant")}
    made_with["label"] = run.record("label")["fingerprint"]
    return made_with, label


RUNGS: dict[str, tuple[Rung, tuple[str, ...]]] = {
    START: (student_start, ()),
    WHOLE: (assistant_views("whole"), ()),
    TUNED: (assistant_tuned, (WHOLE,)),
    CROPS: (assistant_views("crops"), (WHOLE, TUNED)),
    TANGENT: (assistant_views("tangent"), (CROPS, TUNED)),
    VOTE: (vote, (VIEWS,)),
    OURS: (ours, (VIEWS, VOTE)),
    PERFECT: (perfect_ours, (VIEWS, OURS)),
    PERFECT_VOTE: (perfect_vote, (VIEWS, PERFECT)),
    STUDENT: (student, (START, OURS)),
}
"""Name -> the rung, and the rungs that its mIoU is compared with."""
