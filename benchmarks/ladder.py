"""The method as a ladder on the street world: what every step adds, with intervals, up to the student.

    python benchmarks/ladder.py [--small] [--json FILE] [--work DIR] [--steps N] [--sam regions] ...
    python benchmarks/ladder.py --markdown FILE        # the tables of an earlier --json for docs/results.md

200 unlabelled and 60 test strips and 8 test spheres are rendered; nothing but the dev split's labels is looked at to
choose anything, and the scale of the tuned assistant not even by them. Everything is kept in --work, so the same
command goes on where it was interrupted, and makes the table again at once when all is done. Weights and options that
change are noticed; after a change of code delete the work folder's `rungs`, `adapted`, `scales` and `runs`.

Rungs: `ladder_rungs.py`; what they compare with our method: `ladder_steps.py`. Differences are paired bootstraps over
images of the mIoU; of what is adapted, the mean over seeds, and in place of the interval the smallest and the largest.
"s per panorama" is what a rung itself adds when what it builds on is there (the label map of the views for the votes,
masks for the fusions; the first adapted rung asks all adapted assistants); loading models is left out. The rungs that
cost most are climbed on the first strips alone (`--slow`) and compared on these. `--split target-dev` takes that split
for the test pictures: for choosing.
"""

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import torch
from ladder_data import Clock, Pictures, rendered
from ladder_rungs import RUNGS, views_of
from ladder_scores import LABEL_SET, climb, compared, kept_folder, mean_row, read_counts, row_of
from ladder_table import markdown, show
from ladder_world import OURS, VIEWS, Ladder
from rich.console import Console

from goodsam import __version__, files, pipeline, predictor
from goodsam.config import AdaptOptions, parse_size, run_options
from goodsam.progress import pick_device
from goodsam.student import STRIDE
from goodsam.teachers.assistant import load_assistant

SMALL = {
    "unlabelled": 4, "test": 2, "spheres": 1, "choose": 1, "size": "160x832", "sphere_size": "208x416", "steps": 4,
    "adapt_on": 2, "adapt_steps": 2, "seeds": 1, "batch_size": 2, "train_size": "80x416",
}  # fmt: skip
"""Options of --small; any of them may still be given."""
OTHER_SCENES = 1000
"""Index of the first sphere: none shows a scene of the strips."""

WIDTH = 190
"""Columns of the tables where the output is no terminal."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="fewer and smaller pictures, under 5 minutes on 2 cores")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="print the tables of an earlier --json; no run")
    parser.add_argument("--work", type=Path, help="keeps everything; default work/ladder, with --small a temporary one")
    parser.add_argument("--unlabelled", type=int, default=200, help="strips to distil on")
    parser.add_argument("--test", type=int, default=60, help="test strips")
    parser.add_argument("--split", default="target-test", help="of the test pictures")
    parser.add_argument("--slow", type=int, default=24, help="test strips of the rungs that cost most")
    parser.add_argument("--spheres", type=int, default=8, help="test spheres; 0 for none")
    parser.add_argument("--choose", type=int, default=4, help="pictures of each split to choose the scale on")
    parser.add_argument("--size", default="400x2048", help="of strips, HxW")
    parser.add_argument("--sphere-size", default="512x1024", help="HxW")
    parser.add_argument("--sam", default="street", help="teacher, as of goodsam distill")
    parser.add_argument("--preset", default="fast", help="of the teacher's prompts, as of goodsam distill")
    parser.add_argument("--assistant", default="street", help="as of goodsam distill")
    parser.add_argument("--start", default="street", help="the student's start: street, or a folder")
    parser.add_argument("--steps", type=int, default=200, help="of every student")
    parser.add_argument("--adapt-on", type=int, default=100, help="unlabelled strips that the assistant is adapted to")
    parser.add_argument("--adapt-steps", type=int, default=40)
    parser.add_argument("--adapt-rate", type=float, default=AdaptOptions().adapt_rate)
    parser.add_argument("--seeds", type=int, default=3, help="of what is adapted or trained")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--train-size", default="400x2048", help="HxW")
    parser.add_argument("--patch-size", default="512x512", help="HxW, as of goodsam distill")
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that render")
    parser.add_argument("--device", default="auto")
    if parser.parse_known_args(arguments)[0].small:
        parser.set_defaults(**SMALL)
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> None:
    """What may be missing is missed now, not after an hour: the models and sizes."""
    pipeline.load_teacher(run_options(sam=options.sam), pick_device(options.device))
    load_assistant(options.assistant, LABEL_SET.name)
    predictor.load(options.start)
    _, width = parse_size(options.train_size, "--train-size")
    if width % STRIDE:
        raise SystemExit(f"--train-size {options.train_size}: the width must be a multiple of {STRIDE}.")


def render_all(options: argparse.Namespace) -> tuple[Ladder, list[Pictures]]:
    """Everything that is looked at, and the ladder that stands on it."""
    strip, sphere = parse_size(options.size, "--size"), parse_size(options.sphere_size, "--sphere-size")
    work, workers, few = options.work, options.workers, options.choose
    unlabelled = rendered(work, "target-unlabelled", "strip", strip, 0, max(options.unlabelled, few), workers)
    tests = [rendered(work, options.split, "strip", strip, 0, options.test, workers)]
    choosing = {"strips": (unlabelled.first(few), rendered(work, "target-dev", "strip", strip, 0, few, workers))}
    if options.spheres:
        tests.append(rendered(work, options.split, "panorama", sphere, OTHER_SCENES, options.spheres, workers))
    return Ladder(options, unlabelled.first(options.unlabelled), choosing), tests


def climb_all(ladder: Ladder, tests: list[Pictures]) -> list[dict[str, Any]]:
    """Every rung on all test pictures, then the rows of the table."""
    seeds = {name: range(ladder.options.seeds if rung.trained else 1) for name, rung in RUNGS.items()}
    for name, rung in RUNGS.items():
        for everything, seed in product(filter(rung.takes, tests), seeds[name]):
            pictures = rung.part(everything, ladder.options.slow)
            made_with, label = rung.make(ladder, pictures, seed)
            folder = ladder.folder(name, pictures, seed)
            kept_folder(folder, made_with)
            climb(name, pictures, folder, label)
    rows = []
    seconds = Clock(ladder.work / "seconds.json").seconds()
    for pictures in tests:
        rungs = {name: rung for name, rung in RUNGS.items() if rung.takes(pictures)}
        parts = {name: rung.part(pictures, ladder.options.slow) for name, rung in rungs.items()}
        found = {
            name: [read_counts(ladder.folder(name, pictures, seed), parts[name]) for seed in seeds[name]]
            for name in rungs
        }
        for name, rung in rungs.items():
            row = mean_row([row_of(name, parts[name], item) for item in found[name]])
            if name == OURS:  # made by the label stage, whose label maps the rung only reads
                row["seconds"] = seconds.get(ladder.clock_name("label", pictures), 0.0)
            references = [views_of(pictures) if other == VIEWS else other for other in rung.against]
            references = [other for other in references if other in rungs]
            confusions = {other: [item["confusion"] for item in found[other]] for other in (*references, name)}
            row["compared"] = [compared(other, confusions[other], confusions[name]) for other in references]
            rows.append(row)
    return rows


def result_of(options: argparse.Namespace, ladder: Ladder, tests: list[Pictures]) -> dict[str, Any]:
    """What --json holds."""
    rows = climb_all(ladder, tests)
    seconds = Clock(ladder.work / "seconds.json").seconds()
    pictures = {item.root.name: item for item in (*tests, ladder.unlabelled)}
    stages = {}
    for key, item in pictures.items():
        stages[f"render {key}"] = seconds.get(f"render {key}", 0.0)
        names = {stage: ladder.clock_name(stage, item) for stage in pipeline.STAGES}
        stages |= {f"{stage} {key}": seconds[name] for stage, name in names.items() if name in seconds}
    packages = ("torch", "transformers", "numpy", "embreex")
    data = {item.name: item for item in tests} | {"unlabelled": ladder.unlabelled}
    return {
        "options": {key: value for key, value in vars(options).items() if key not in ("work", "json", "markdown")},
        "data": {name: {"images": len(item.stems), "size": item.size} for name, item in data.items()},
        "rows": rows,
        "scales": ladder.scales("strips"),
        "stages": stages,
        "machine": {
            "cpu": cpu(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": str(ladder.device),
        },
        "versions": {"goodsam": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
        "weights": [item.to_json() for found in ladder.weights.values() for item in found],
    }


def cpu() -> str:
    """The processor's model."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def main() -> None:
    """Climb the ladder and print the tables."""
    options = parse()
    if options.markdown:
        print(markdown(json.loads(options.markdown.read_text())), end="")
        return
    logging.basicConfig(format="%(message)s")
    logging.getLogger("goodsam").setLevel(logging.INFO)
    check(options)
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or (Path(temporary) if options.small else Path("work/ladder"))
        ladder, tests = render_all(options)
        result = result_of(options, ladder, tests)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for table in show(result):
        console.print(table)
    if options.json:
        files.write_json(options.json, result)


if __name__ == "__main__":
    main()
