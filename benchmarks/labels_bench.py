"""What `labels.py` measures: every way on every strip, then on one view of a network of full size; all of it kept."""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ladder_data import Pictures
from ladder_scores import kept_folder

from goodsam import files, weights
from goodsam.config import FusionOptions
from goodsam.ego import find_mounts, write_mounts
from goodsam.teachers.sam import STREET_PRESETS
from goodsam.views import cut, lay_views, view_to_json

OURS = {f"ours, {preset}": preset for preset in STREET_PRESETS}
PEERS = {"transformers pipeline": "pipeline", "segment-anything": "segment-anything"}
FILTERS = {name: getattr(STREET_PRESETS["balanced"], name) for name in ("iou_threshold", "stability_threshold")}
LOGITS_APART = 0.01
"""Raw logits of one prompt may differ by so much between two versions of torch and two codes of one network: by 2e-5
with the bundled teacher, whose logits reach 9, and by 1e-3 with the random ViT-B, whose reach 6 (measured)."""
STABLE = 1e-6
"""A threshold that masks pass which are stable at all; at 0 the peers would not count stability."""


@dataclass(frozen=True)
class Bench:
    """What is measured on which strips."""

    options: argparse.Namespace
    work: Path
    pictures: Pictures

    @property
    def ways(self) -> dict[str, str]:
        """Name -> preset or peer."""
        ours = {way: preset for way, preset in OURS.items() if preset in self.options.presets}
        return ours | (PEERS if self.options.peers != "none" else {})

    def folder(self, way: str) -> Path:
        """Where a way's masks, figures and label maps lie."""
        return self.work / "ways" / self.pictures.root.name / way.replace(", ", "-").replace(" ", "-")

    def ask(self, way: str, **job: Any) -> dict[str, Any]:
        """Do a job in a process of its own, ours or in the peers' environment."""
        theirs = way in PEERS
        python, script = (self.options.peers, "labels_peers") if theirs else (sys.executable, "labels_ours")
        text = json.dumps(job | {"threads": self.options.threads}, default=str)
        command = [python, str(Path(__file__).with_name(f"{script}.py")), text]
        return json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )

    @cached_property
    def made_with(self) -> dict[str, Any]:
        """What decides the figures of all ways."""
        named = ((weights.STREET, "--sam"), (self.options.assistant, "--assistant"))
        hashes = [[file.sha256 for file in weights.weight_files(n, weights.resolve(n, o))] for n, o in named]
        return {"weights": hashes, "threads": self.options.threads, "fusion": vars(FusionOptions())}

    @cached_property
    def cars(self) -> Path:
        """The camera cars of the strips' folder, as the label stage finds them; looked for once."""
        folder, images = self.work / "cars" / self.pictures.root.name, self.pictures.root / "images"
        if not (folder / "mounts.json").exists():
            paths = list(files.list_images(images).values())
            write_mounts(folder, find_mounts(paths), len(paths))
        return folder

    def views(self, stem: str) -> Path:
        """The views of a strip as the peers read them, uint8 (K, h, w, 3)."""
        path = self.work / "views" / self.pictures.root.name / f"{stem}.npz"
        if not path.exists():
            panorama = self.pictures.panorama(stem)
            files.write_npz(path, views=np.stack([cut(panorama, view) for view in lay_views(panorama.geometry)]))
        return path

    def common(self, stem: str) -> dict[str, Any]:
        """What the jobs on a strip share."""
        root, assistant = self.pictures.root, self.work / "assistant" / self.pictures.root.name
        return {
            "panorama": root / "images" / f"{stem}.jpg",
            "labels": root / "labels" / f"{stem}.png",
            "vfov": self.pictures.vfov,
            "probabilities": assistant / f"{stem}.npy",
        }


def measure_strip(bench: Bench, stem: str) -> None:
    """All ways on one strip, but for those that are measured already."""
    common = bench.common(stem)
    known = common["probabilities"].with_suffix(".json")
    kept_folder(known.parent, bench.made_with | {"assistant": bench.options.assistant})
    if not known.exists():
        facts = bench.ask("ours", job="assistant", **common, assistant=bench.options.assistant, cars=bench.cars)
        files.write_json(known, facts)
    for way, name in bench.ways.items():
        folder = bench.folder(way)
        given = vars(STREET_PRESETS[name]) if way in OURS else {"grid": bench.options.grid, **FILTERS}
        kept_folder(folder, bench.made_with | {"way": way, **given})
        if (folder / "facts" / f"{stem}.json").exists():
            continue
        for part in ("masks", "logits", "facts"):
            (folder / part).mkdir(exist_ok=True)
        out = {"masks": folder / "masks" / f"{stem}.json.gz", "logits": folder / "logits" / f"{stem}.npy"}
        masks = bench.ask(way, **out, **(common if way in OURS else {}), **mask_job(bench, way, stem))
        made = {"made": folder / "labels" / f"{stem}.png", "counts": folder / "counts" / f"{stem}.npz"}
        fusion = bench.ask("ours", **common, job="fuse", masks=out["masks"], **made)
        files.write_json(folder / "facts" / f"{stem}.json", {"masks": masks, "fusion": fusion})
        print(f"{stem}, {way}: {masks['seconds']:.1f} s, {masks['kept']} masks", file=sys.stderr, flush=True)


def mask_job(bench: Bench, way: str, stem: str) -> dict[str, Any]:
    """The job of the masks, as either script reads it."""
    if way in OURS:
        return {"job": "masks", "preset": OURS[way], "assistant": bench.options.assistant}
    geometry = bench.pictures.panorama(stem).geometry
    views = [view_to_json(view) for view in lay_views(geometry)]
    size = [geometry.height, geometry.width]
    given = {"peer": PEERS[way], "network": "street", "grid": bench.options.grid, **FILTERS, "nms_threshold": None}
    return {**given, "images": bench.views(stem), "views": views, "size": size}


def logits_apart(paths: dict[str, Path]) -> dict[str, float]:
    """How far each way's logits of one prompt are from those of our first way; too far ends the run."""
    logits = {way: np.load(path, allow_pickle=False) for way, path in paths.items()}
    first = next(iter(logits.values()))
    apart = {way: float(np.abs(found - first).max()) for way, found in logits.items()}
    for way, most in apart.items():
        if not most <= LOGITS_APART:
            raise SystemExit(
                f"{way}: its logits of one prompt are {most:.3g} from ours; it has other weights or pixels."
            )
    return apart


def measure_full(bench: Bench, rows: dict[str, dict[str, int]]) -> dict[str, list[dict[str, Any]]]:
    """All ways on the first strip's first view with a network of full size, in turn: the facts of every turn.

    Args:
        rows: way -> `prompts` and `kept` of a view with the bundled teacher.
    """
    shared = {"network": bench.options.network, "images": bench.views(bench.pictures.stems[0])}
    found: dict[str, list[dict[str, Any]]] = {}
    logits: dict[str, Path] = {}
    for turn in range(bench.options.turns):
        for way, row in rows.items():
            known = full_file(bench, way, row, turn)
            logits[way] = known.with_suffix(".npy")
            if not known.exists():
                job = {**shared, "prompts": row["prompts"], **filters_at_full_size(bench, row, shared)}
                theirs = {"peer": PEERS.get(way), "grid": bench.options.grid, "views": [{}], "size": [], "masks": ""}
                given = {"job": "full"} if way in OURS else theirs
                files.write_json(known, bench.ask(way, **job, **given, logits=logits[way]))
            found.setdefault(way, []).append(files.read_json(known))
        logits_apart(logits)
    return found


def full_file(bench: Bench, *decides: Any) -> Path:
    """Where figures at full size lie that depend on these values."""
    options, pictures = bench.options, bench.pictures
    values = [options.network, pictures.stems[0], pictures.size, options.threads, *decides]
    folder = bench.work / "full"
    folder.mkdir(exist_ok=True)
    return folder / f"{files.fingerprint_of(values)[:12]}.json"


def filters_at_full_size(bench: Bench, row: dict[str, int], shared: dict[str, Any]) -> dict[str, float]:
    """Thresholds under which as many masks are kept as with the bundled teacher; nothing is suppressed."""
    filters = {"stability_threshold": STABLE, "nms_threshold": 1.0}
    known = full_file(bench, "rated", row["prompts"])
    if not known.exists():
        job = {**shared, "prompts": row["prompts"], **filters}
        files.write_json(known, bench.ask("ours", **job, job="rated"))
    ious = files.read_json(known)["ious"]
    last = row["kept"] < len(ious)
    return {"iou_threshold": (ious[row["kept"] - 1] + ious[row["kept"]]) / 2 if last else 0.0, **filters}
