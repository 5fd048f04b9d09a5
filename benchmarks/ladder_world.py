"""What the rungs of the ladder share: runs, masks, the camera cars, adapted assistants, kept probabilities."""

import argparse
import io
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ladder_data import Clock, Pictures
from ladder_scores import LABEL_SET, counts, kept_folder
from ladder_steps import true_masks, whole_tuned

from goodsam import files, pipeline, weights
from goodsam.bootstrap import miou_of
from goodsam.config import AdaptOptions, run_options
from goodsam.dar.adapt import Adapter, adapt_assistant, save_adapted
from goodsam.dar.scales import SCALES as VIEW_SCALES
from goodsam.dar.scales import seconded
from goodsam.ego import Mount, find_mounts, hidden, mount_of, read_mounts, write_mounts
from goodsam.masks import PanoramaMasks, join_masks, read_masks
from goodsam.panorama import Panorama
from goodsam.progress import pick_device
from goodsam.run import Run
from goodsam.teachers.assistant import (
    Assistant,
    TransformersAssistant,
    load_assistant,
    merged_probabilities,
    whole_probabilities,
)
from goodsam.teachers.combined import WITH_REGIONS
from goodsam.teachers.regions import load_regions
from goodsam.views import Merger, cut, lay_views
from goodsam.weights import WeightFile

START, WHOLE, TUNED = "start", "assistant whole", "assistant whole, tuned"
CROPS, TANGENT = "assistant crops", "assistant tangent"
CARLESS, SCALED = "views, car hidden", "views at two scales, and the whole"
CONSISTENT, BOUNDED, ADAPTED = "adapted: consistency", "adapted: boundaries", "adapted: both"
VOTE, OURS, REGIONS = "majority vote", "our fusion", "our fusion, regions too"
EVERYTHING = "two scales, whole, regions too; our fusion"
ADAPTED_OURS, ADAPTED_REGIONS = "adapted: both; our fusion", "adapted: both; our fusion, regions too"
PERFECT, PERFECT_VOTE = "perfect masks, our fusion", "perfect masks, majority vote"
VIEWS = "views"
"""Stands for the views that masks are fused on: crops of strips, tangent views of spheres."""
SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)
ADAPTATIONS: dict[str, dict[str, float]] = {
    CONSISTENT: {"boundary_weight": 0.0}, BOUNDED: {"consistency_weight": 0.0}, ADAPTED: {},
}  # fmt: skip


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
        self._cars: dict[Path, list[Mount]] = {}
        self._adapted: dict[Path, TransformersAssistant] = {}

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

    def folder(self, name: str, pictures: Pictures, seed: int = 0) -> Path:
        """Where a rung's label maps and counts lie."""
        plain = "".join(letter for letter in name if letter not in ",;:").replace(" ", "-")
        return self.work / "rungs" / pictures.root.name / (f"{plain}-seed{seed}" if seed else plain)

    def fingerprint(self, name: str, pictures: Pictures) -> str:
        """Of a rung that has been climbed."""
        return files.read_json(self.folder(name, pictures) / "made.json")["fingerprint"]

    # -- the camera car ---------------------------------------------------------------------------------------------

    def cars(self, pictures: Pictures) -> list[Mount]:
        """The camera cars of the pictures' folder, as the label stage finds them; looked for once."""
        folder = self.work / "cars" / pictures.root.name
        if not (folder / "mounts.json").exists():
            images = list(files.list_images(pictures.root / "images").values())
            write_mounts(folder, find_mounts(images), len(images))
        if pictures.root not in self._cars:
            self._cars[pictures.root] = read_mounts(folder)[0]
        return self._cars[pictures.root]

    def seen(self, pictures: Pictures, stem: str) -> Panorama:
        """A panorama as the label stage shows it to the assistant: the camera car hidden."""
        panorama = pictures.panorama(stem)
        car = mount_of(panorama.pixels, self.cars(pictures))
        return panorama if car is None else hidden(panorama, car.mask)

    # -- the project's own stages -----------------------------------------------------------------------------------

    def distilled(self, pictures: Pictures, *stages: str) -> Run:
        """The run on these pictures after some stages, at their default options but those of the command line."""
        given = self.options
        options = run_options(
            sam=given.sam, preset=given.preset, assistant=given.assistant, label_set=LABEL_SET.name, init=given.start,
            seed=0, steps=given.steps, batch_size=given.batch_size, train_size=given.train_size,
            learning_rate=given.learning_rate, vfov=pictures.vfov, limit=len(pictures.stems), device=given.device,
        )  # fmt: skip
        names = {stage: self.clock_name(stage, pictures) for stage in pipeline.STAGES}
        clock = Clock(self.work / "seconds.json", names)
        out = self.work / "runs" / pictures.root.name
        return pipeline.distill(pictures.root / "images", out, options, stages, clock)

    def clock_name(self, stage: str, pictures: Pictures) -> str:
        """What `seconds.json` calls a stage of these models and options."""
        decides: dict[str, Any] = {"sam": self.options.sam, "preset": self.options.preset, **self.hashes("--sam")}
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

    def masks_and_regions(self, run: Run, pictures: Pictures, stem: str) -> PanoramaMasks:
        """The teacher's masks of a run together with regions of even colour, which are kept on disk."""
        path, panorama = self.work / "regions" / pictures.root.name / f"{stem}.json.gz", pictures.panorama(stem)
        first = read_masks(run.file("masks", stem))
        if not path.exists():
            regions = load_regions()
            views = tuple((view, regions.masks(cut(panorama, view))) for view, _ in first.views)
            PanoramaMasks(first.size, regions.name, views).write(path)
        pairs = zip(first.views, read_masks(path).views, strict=True)
        return PanoramaMasks(first.size, "both", tuple((view, join_masks([a, b])) for (view, a), (_, b) in pairs))

    # -- adapted assistants -----------------------------------------------------------------------------------------

    def _adapted_folder(self, name: str, seed: int) -> Path:
        return self.work / "adapted" / f"{name.removeprefix('adapted: ')}-{seed}"

    def adapted(self, name: str, seed: int) -> TransformersAssistant:
        """The assistant adapted to the first `--adapt-on` unlabelled strips by some of the losses; kept."""
        given, folder = self.options, self._adapted_folder(name, seed)
        if folder in self._adapted:
            return self._adapted[folder]
        pictures = self.unlabelled.first(given.adapt_on)
        options = AdaptOptions(adapt_steps=given.adapt_steps, adapt_rate=given.adapt_rate, **ADAPTATIONS[name])
        run = self.teacher_masks(self.unlabelled)
        made_with = {"adapt": asdict(options), "seed": seed, "masks": run.record("masks")["fingerprint"]}
        made_with |= {"on": list(pictures.stems), **self.hashes("--assistant")}
        fingerprint = kept_folder(folder, made_with)
        if not (folder / "assistant").exists():
            fresh = load_assistant(given.assistant, LABEL_SET.name, self.device)
            assert isinstance(fresh, TransformersAssistant), (
                "--assistant: this ladder adapts assistants, not ONNX files"
            )

            def read(number: int) -> tuple[Panorama, PanoramaMasks]:
                stem = pictures.stems[number]
                return self.seen(pictures, stem), read_masks(run.file("masks", stem))

            clock = Clock(self.work / "seconds.json", {"adapt": f"{name}, seed {seed}, {fingerprint[:8]}"})
            adapt_assistant(Adapter(fresh, options, seed), folder, fingerprint, len(pictures.stems), read, clock)
            save_adapted(fresh, folder / "assistant")
        self._adapted[folder] = TransformersAssistant(str(folder / "assistant"), LABEL_SET, self.device)
        return self._adapted[folder]

    # -- the assistant's merged probabilities -----------------------------------------------------------------------

    def merged(self, name: str, pictures: Pictures, stem: str, seed: int = 0) -> torch.Tensor:
        """P of a rung of the assistant on views with the camera car hidden, float32 (C, H, W); kept in halves.

        Args:
            name: CARLESS, SCALED or an adaptation.
        """
        if name in ADAPTATIONS:
            path = self._adapted_folder(name, seed) / "probabilities" / pictures.root.name / f"{stem}.npy"
        else:
            path = self.folder(name, pictures) / "probabilities" / f"{stem}.npy"
        if not path.exists():
            if name in ADAPTATIONS:
                self._say_adapted(pictures, stem)
            elif name == SCALED:
                _write(path, self.probabilities_at_scales(pictures, stem))
            else:
                _write(path, self._views_at(pictures, stem, (1.0,)))
        return torch.from_numpy(np.load(path, allow_pickle=False)).float()

    def _say_adapted(self, pictures: Pictures, stem: str) -> None:
        """P of all adapted assistants at once, since they share most of their network."""
        panorama = self.seen(pictures, stem)
        which = [(name, seed) for name in ADAPTATIONS for seed in range(self.options.seeds)]
        assistants = [self.adapted(name, seed) for name, seed in which]  # this trains those that are missing
        mergers = [Merger(panorama.geometry, len(LABEL_SET)) for _ in which]
        with torch.no_grad():
            for view in lay_views(panorama.geometry):
                image = torch.from_numpy(cut(panorama, view)).permute(2, 0, 1)[None].float() / 255
                trunk = assistants[0].trunk(image)
                for merger, assistant in zip(mergers, assistants, strict=True):
                    merger.add(view, assistant.forward(image, trunk).probabilities[0])
        for merger, (name, seed) in zip(mergers, which, strict=True):
            folder = self._adapted_folder(name, seed) / "probabilities" / pictures.root.name
            _write(folder / f"{stem}.npy", merger.result())

    # -- scales -----------------------------------------------------------------------------------------------------

    def view_scales(self, pictures: Pictures) -> tuple[float, ...]:
        """The scales of views that `--view-scale auto` takes for these pictures, without labels; kept."""
        path = self.work / "view-scales" / f"{pictures.root.name}.json"
        decides = files.fingerprint_of({"assistant": self.assistant.options(), **self.hashes("--assistant")})
        known = files.read_json(path) if path.exists() else {}
        if known.get("fingerprint") != decides:
            stems = pictures.stems[: pipeline.PROJECTION_PANORAMAS]
            found = seconded(torch.stack([self._views_at(pictures, s, (x,)) for x in VIEW_SCALES]) for s in stems)
            known = {"fingerprint": decides, "scales": found.chosen(), "support": found.support}
            files.write_json(path, known)
        return tuple(known["scales"])

    def _views_at(self, pictures: Pictures, stem: str, scales: tuple[float, ...]) -> torch.Tensor:
        panorama = self.seen(pictures, stem)
        return merged_probabilities(self.assistant, panorama, lay_views(panorama.geometry), scales)

    def probabilities_at_scales(self, pictures: Pictures, stem: str) -> torch.Tensor:
        """P of `--view-scale auto --whole-view`, float32 (C, H, W)."""
        scales = self.view_scales(pictures)
        whole = whole_probabilities(self.assistant, self.seen(pictures, stem), scales)
        return (self._views_at(pictures, stem, scales) + whole) / 2

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


def _write(path: Path, probabilities: torch.Tensor) -> None:
    buffer = io.BytesIO()
    np.save(buffer, probabilities.half().numpy())
    files.write_bytes(path, buffer.getvalue())
