"""Peak memory and time of the masks and the labels of one large panorama.

    python benchmarks/memory.py [--small] [--json FILE] [--scale FACTOR]

A synthetic full sphere of 10,000 x 5,000 pixels (2,000 x 1,000 with `--small`) goes through the stages masks and label
with each teacher, each stage in a process of its own, whose largest resident memory is printed (`VmHWM`). The assistant
is `street`; it sees views at `--scale`, since its attention on a CPU takes minutes for a view of 10 million pixels.
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

STAGES = ("masks", "label")
TEACHERS = ("regions", "street")


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory and time of masks and labels of one large panorama.")
    parser.add_argument("--small", action="store_true", help="2,000 x 1,000 pixels and regions alone, under 2 minutes")
    parser.add_argument("--width", type=int, help="pixels of the panorama, in place of 10,000 or 2,000")
    parser.add_argument("--scale", default="0.25", help="--view-scale of the assistant; 1 takes hours on a CPU")
    parser.add_argument("--teachers", nargs="+", default=list(TEACHERS), help="names as --sam takes them")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # what a process of its own is to do, JSON
    options = parser.parse_args()
    if options.job is not None:
        print(json.dumps(measure(json.loads(options.job))))
        return
    width = options.width or (2000 if options.small else 10000)
    teachers = options.teachers[:1] if options.small else options.teachers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panorama.png"
        Image.fromarray(street(width)).save(path, compress_level=1)
        rows = [
            row_of({"photo": str(path), "run": f"{folder}/{teacher}", "sam": teacher, "stage": stage}, options.scale)
            for teacher in teachers
            for stage in STAGES
        ]
    if options.json is not None:
        result = {"size": [width // 2, width], "scale": options.scale, "rows": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def row_of(job: dict[str, Any], scale: str) -> dict[str, Any]:
    """Run one stage, say what it took, and return that."""
    command = [sys.executable, __file__, "--job", json.dumps(job | {"scale": scale})]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{row['teacher']:8} {row['stage']:6} {row['peak_mb']:7.0f} MB {row['seconds']:8.1f} s", flush=True)
    return row


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """One stage in this process."""
    from goodsam import pipeline
    from goodsam.config import run_options

    options = run_options(sam=job["sam"], assistant="street", device="cpu", ego="off", view_scale=job["scale"])
    start = time.perf_counter()
    pipeline.distill(Path(job["photo"]), Path(job["run"]), options, (job["stage"],))
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    return {"teacher": job["sam"], "stage": job["stage"], "peak_mb": peak, "seconds": seconds}


def street(width: int) -> np.ndarray:
    """Sky, road, two hundred houses and trees, and noise: uint8 (width / 2, width, 3)."""
    random, height = np.random.default_rng(0), width // 2
    ids = np.zeros((height, width), dtype=np.uint8)
    ids[height // 2 :] = 1
    for _ in range(200):
        left, broad = random.integers(0, width), random.integers(width // 200, width // 20)
        upper, lower = random.integers(height // 4, height // 2), random.integers(height // 2, height * 7 // 10)
        ids[upper:lower, np.arange(left, left + broad) % width] = random.integers(2, 40)
    colors = random.integers(40, 216, (40, 3)).astype(np.int16)
    colors[:2] = (150, 190, 240), (90, 90, 95)
    noise = random.integers(-8, 9, (512, 512, 3), dtype=np.int16)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, 512):  # of 16-bit colours in bands too
        rows = ids[top : top + 512]
        pixels[top : top + 512] = colors[rows] + np.resize(noise[: len(rows)], (*rows.shape, 3))
    return pixels


if __name__ == "__main__":
    main()
