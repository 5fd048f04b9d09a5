"""Seconds and peak memory of each stage per panorama, beside the plain library calls that do the same share of work.

    python benchmarks/stages.py --panoramas FOLDER --assistant FILE.onnx [--small] [--json FILE]

Every stage and every peer runs in a process of its own, so that its peak memory is its own. A peer does what one would
write by hand without the project: it is a floor for what the stage adds (files, merging, fusion), not a competitor.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from goodsam import pipeline, predictor
from goodsam.config import RunOptions, run_options
from goodsam.files import list_images
from goodsam.panorama import Panorama, read_panorama
from goodsam.student import load_student, new_student
from goodsam.teachers.assistant import load_assistant, predict_views
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD
from goodsam.views import cut, lay_views

PEERS = {
    "masks": "felzenszwalb: scikit-image's felzenszwalb on the same views, nothing written",
    "label": "views: the assistant on the same views, nothing merged, fused or written",
    "train": "plain: a supervised step of transformers' SegFormer, same size and batch, no data read",
    "predict": "plain: transformers' SegFormer on the resized panorama, nothing written",
}


def panoramas(options: argparse.Namespace) -> list[Panorama]:
    """The first panoramas of the folder."""
    return [read_panorama(path) for path in list(list_images(options.panoramas).values())[: options.limit]]


def run_stage(name: str, options: argparse.Namespace) -> int:
    """One stage of the project; returns how many panoramas it worked on."""
    run: RunOptions = run_options(
        sam="regions", assistant=str(options.assistant), init="random", limit=options.limit, steps=options.steps,
        batch_size=2, train_size=options.train_size, whole_scale=1.0, patches=0, workers=0, device="cpu",
    )  # fmt: skip
    if name == "predict":
        paths = list(list_images(options.panoramas).values())[: options.limit]
        loaded = predictor.load(options.out / "student", "cpu")
        return predictor.predict_files(loaded, paths, options.out / "predictions")
    pipeline.distill(options.panoramas, options.out, run, (name,))
    return options.steps * 2 if name == "train" else options.limit


def peer_masks(options: argparse.Namespace) -> int:
    """scikit-image on the same views."""
    from skimage.segmentation import felzenszwalb

    for panorama in panoramas(options):
        for view in lay_views(panorama.geometry):
            felzenszwalb(cut(panorama, view), scale=60, sigma=0.8, min_size=60)
    return options.limit


def peer_label(options: argparse.Namespace) -> int:
    """The assistant on the same views."""
    assistant = load_assistant(str(options.assistant))
    for panorama in panoramas(options):
        for _ in predict_views(assistant, panorama, lay_views(panorama.geometry)):
            pass
    return options.limit


def peer_train(options: argparse.Namespace) -> int:
    """Supervised steps of transformers' own model."""
    height, width = (int(side) for side in options.train_size.split("x"))
    assistant = load_assistant(str(options.assistant))
    model = new_student("t", assistant.label_set, "random").model.train()
    optimizer = torch.optim.AdamW(model.parameters())
    images, labels = torch.rand(2, 3, height, width), torch.zeros(2, height, width, dtype=torch.long)
    for _ in range(options.steps):
        model(images, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return options.steps * 2


def peer_predict(options: argparse.Namespace) -> int:
    """Resize, forward, upsample, arg max: what a script would do."""
    model = load_student(options.out / "student").model.eval()
    height, width = (int(side) for side in options.train_size.split("x"))
    mean, std = (torch.tensor(value)[:, None, None] for value in (IMAGENET_MEAN, IMAGENET_STD))
    for panorama in panoramas(options):
        image = torch.from_numpy(panorama.pixels).permute(2, 0, 1)[None].float() / 255
        small = (F.interpolate(image, (height, width), mode="bilinear", antialias=True) - mean) / std
        with torch.inference_mode():
            F.interpolate(model(small).logits, panorama.pixels.shape[:2], mode="bilinear").argmax(1)
    return options.limit


def child(options: argparse.Namespace) -> None:
    """Run one thing in this process and print its seconds and peak memory."""
    work: dict[str, Callable[[argparse.Namespace], int]] = {
        "masks": peer_masks, "label": peer_label, "train": peer_train, "predict": peer_predict,
    }  # fmt: skip
    name = options.child.removeprefix("peer-")
    start = time.perf_counter()
    items = work[name](options) if options.child.startswith("peer-") else run_stage(name, options)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds / items, "peak_mb": peak}))


def measure(what: str, options: argparse.Namespace, out: Path) -> dict[str, float]:
    """Run `child` in a process of its own."""
    given = [f"--{name}={getattr(options, name)}" for name in ("panoramas", "assistant", "limit", "steps")]
    command = [
        sys.executable,
        __file__,
        "--child",
        what,
        "--out",
        str(out),
        f"--train-size={options.train_size}",
        *given,
    ]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def main() -> None:
    """Measure every stage and its peer in turn, `--repeats` times, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panoramas", type=Path, default=Path("../shared/panoramas/panoramax"))
    parser.add_argument("--assistant", type=Path, default=Path("../shared/models/espnetv2-cityscapes.onnx"))
    parser.add_argument("--small", action="store_true", help="fewer panoramas and steps, under 5 minutes on 2 cores")
    parser.add_argument("--limit", type=int, default=8, help="panoramas")
    parser.add_argument("--steps", type=int, default=20, help="training steps of 2 panoramas")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--train-size", default="200x1024")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    if options.small:
        options.limit, options.steps, options.repeats = 2, 4, 1
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for stage in PEERS:
                for what in (stage, f"peer-{stage}"):
                    results.setdefault(what, []).append(measure(what, options, Path(folder) / "RUN"))
    report(options, results)


def report(options: argparse.Namespace, results: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians and ratios, and write them with `--json`."""
    rows = []
    for stage, peer in PEERS.items():
        own, other = (
            {key: float(np.median([run[key] for run in results[name]])) for key in ("seconds", "peak_mb")}
            for name in (stage, f"peer-{stage}")
        )
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(results[stage], results[f"peer-{stage}"], strict=True)]
        rows.append({"stage": stage, **own, "peer": peer, "peer_seconds": other["seconds"], "ratio": np.median(ratios)})
    machine = (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{options.limit} panoramas, {options.steps} steps at {options.train_size}, {machine}")
    print("| stage | s per panorama | peak MB | peer s | ratio | peer |\n|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['stage']} | {row['seconds']:.2f} | {row['peak_mb']:.0f} | {row['peer_seconds']:.2f} "
            f"| {row['ratio']:.2f} | {row['peer']} |"
        )
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "limit": options.limit, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
