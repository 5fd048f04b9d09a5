"""What an evaluation costs beside a plain torchmetrics loop: images per second, memory, and the same figures.

    python benchmarks/evaluate.py --json benchmarks/results/evaluate.json

Renders street-world strips (400x2048, 13 classes) and label maps that miss them by a few pixels, and scores these in
both ways, in turn, each in a process of its own so that its memory is its own. The plain loop reads both label maps
with Pillow and updates torchmetrics' confusion matrix, which is what mIoU and accuracy need. Ours counts boundaries,
the sphere, the seam, latitudes and the bootstrap as well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from goodsam import files
from goodsam.streetworld import split_named, write_scenes

SIZE = (400, 2048)
RENDERED = 12
"""Scenes that are rendered; the others are the same, turned."""


def write_data(root: Path, number: int) -> None:
    """`number` strips with labels, and label maps that are shifted and noisy."""
    split = split_named("target-dev")
    write_scenes(root / "scenes", min(number, RENDERED), split.seed, "strip", split.style, SIZE)
    labels = [np.asarray(Image.open(path)) for path in sorted((root / "scenes/labels").glob("*.png"))]
    photos = [path.read_bytes() for path in sorted((root / "scenes/images").glob("*.jpg"))]
    for folder in ("images", "labels", "found"):
        (root / folder).mkdir()
    for index in range(number):
        rng = np.random.default_rng(index)
        truth = np.roll(labels[index % len(labels)], int(rng.integers(SIZE[1])), axis=1)
        said = np.roll(truth, rng.integers(-2, 3, 2), axis=(0, 1))
        stem = f"{index:05d}"
        (root / "images" / f"{stem}.jpg").write_bytes(photos[index % len(photos)])
        Image.fromarray(truth).save(root / "labels" / f"{stem}.png")
        said[said == 255] = 0  # torchmetrics has no place for a pixel without a prediction
        Image.fromarray(said).save(root / "found" / f"{stem}.png")


def by_torchmetrics(root: Path) -> dict[str, Any]:
    """The loop that one would write."""
    import torch
    from torchmetrics.classification import MulticlassConfusionMatrix

    metric = MulticlassConfusionMatrix(13, ignore_index=255)
    start = time.perf_counter()
    for path in sorted((root / "labels").glob("*.png")):
        labels = torch.from_numpy(np.array(Image.open(path))).long()
        said = torch.from_numpy(np.array(Image.open(root / "found" / path.name))).long()
        metric.update(said, labels)
    confusion = metric.compute().double()
    hit = confusion.diag()
    iou = hit / (confusion.sum(0) + confusion.sum(1) - hit)
    return _measured(start, float(iou[confusion.sum(1) > 0].mean()))


def by_goodsam(root: Path, workers: int) -> dict[str, Any]:
    """`goodsam evaluate labels:FOUND --data folder:IMAGES,LABELS,densepass13`."""
    from goodsam.evaluation import evaluate

    start = time.perf_counter()
    data = f"folder:{root / 'images'},{root / 'labels'},densepass13"
    found = evaluate(f"labels:{root / 'found'}", data, workers=workers)
    return _measured(start, found.miou or 0.0)


def _measured(start: float, miou: float) -> dict[str, Any]:
    """Seconds of the loop (imports left out), mIoU, and the most memory the process had, MB."""
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()  # not getrusage: its figure is inherited from the parent
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    return {"seconds": seconds, "miou": miou, "memory": memory}


def in_turn(root: Path, number: int, rounds: int, workers: list[int]) -> list[dict[str, Any]]:
    """Every way, `rounds` times in turn; the fastest of each."""
    ways = [("torchmetrics loop", "torchmetrics", 1), *(("goodsam evaluate", "goodsam", count) for count in workers)]
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for _ in range(rounds):
        for name, way, threads in ways:
            command = [sys.executable, __file__, "--way", way, "--root", str(root), "--workers", str(threads)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            row = {"way": name, "workers": threads, "images_per_second": number / found["seconds"], **found}
            before = best.get((name, threads))
            if before is None or row["seconds"] < before["seconds"]:
                best[name, threads] = row
    return list(best.values())


def main() -> None:
    """Write the data, time both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="60 strips, one round")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--number", type=int, default=1000, help="strips")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way runs; the fastest counts")
    parser.add_argument("--way", choices=["torchmetrics", "goodsam"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way == "torchmetrics":
        print(json.dumps(by_torchmetrics(options.root)))
        return
    if options.way == "goodsam":
        print(json.dumps(by_goodsam(options.root, options.workers)))
        return
    number, rounds = (60, 1) if options.small else (options.number, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder), number)
        rows = in_turn(Path(folder), number, rounds, [1, 2])
    peer = rows[0]["images_per_second"]
    print(f"{number} strips of {SIZE[0]}x{SIZE[1]}, fastest of {rounds}\n")
    print("| way | threads | images/s | ratio | memory, MB | mIoU |\n|---|---|---|---|---|---|")
    for row in rows:
        row["ratio"] = row["images_per_second"] / peer
        print(
            f"| {row['way']} | {row['workers']} | {row['images_per_second']:.1f} | {row['ratio']:.2f} "
            f"| {row['memory']:.0f} | {100 * row['miou']:.4f} |"
        )
    if options.json:
        files.write_json(options.json, {"strips": number, "size": SIZE, "rounds": rounds, "rows": rows})


if __name__ == "__main__":
    main()
