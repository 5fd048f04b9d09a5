"""The steps of a demo, in order; what is done is skipped, so the same command resumes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goodsam import __version__, files, pipeline, weights
from goodsam.demo import report, scores
from goodsam.demo.options import FULL, TEST_SPLIT, UNLABELLED_SPLIT, DemoOptions
from goodsam.demo.strips import Strips, render_missing
from goodsam.demo.times import Steps, Times
from goodsam.errors import GoodSAMError
from goodsam.progress import Progress, Silent
from goodsam.run import Run
from goodsam.streetworld import split_named

log = logging.getLogger(__name__)

STEPS = 7
MARKER = "demo.json"
"""Says that a folder is a demo's, so that no other folder is written into."""


@dataclass(frozen=True)
class DemoResult:
    """What a demo gave."""

    metrics: dict[str, dict[str, Any]]
    """As in metrics.json: step -> evaluation."""
    names: dict[str, str]
    """Step -> its name for people."""
    times: list[report.Row]
    """What each step took, in order."""
    page: Path
    """The report."""


def run_demo(out: Path, options: DemoOptions = FULL, progress: Progress | None = None) -> DemoResult:
    """Render a world, distil a student from its unlabelled panoramas, score every step, and write a page about it.

    Args:
        out: the demo's folder: unlabelled/, test/, run/, test-run/, predictions/, metrics.json, report.html, demo.jpg.
        options: `FULL`, `FAST` or one's own.
        progress: shows how far it is.
    Raises:
        GoodSAMError: a folder that is not a demo's, a renderer or a model that is not there.
    """
    _check_models(options)
    _claim(out)
    steps = Steps(progress or Silent(), Times(out / "times.json"), STEPS)
    unlabelled, test = out / "unlabelled", out / "test"
    steps.step("streets", f"render {options.unlabelled} unlabelled and {options.test} test panoramas")
    sets = [
        Strips(unlabelled, split_named(UNLABELLED_SPLIT), options.size, options.unlabelled, labelled=False),
        Strips(test, split_named(TEST_SPLIT), options.size, options.test, labelled=True),
    ]
    render_missing(sets, out / "rendering", options, steps)
    run, test_run = Run(out / "run"), Run(out / "test-run")
    # Images alone are handed over: what the renderer knows of the test strips serves the scores.
    steps.step("masks", f"the teacher looks at {options.unlabelled} unlabelled panoramas")
    _stage(run, "masks", unlabelled, options, options.unlabelled, steps)
    steps.step("labels", "the assistant looks at them, and masks and names are fused")
    _stage(run, "label", unlabelled, options, options.unlabelled, steps)
    steps.step("training", f"the student learns from them in {options.steps} steps")
    _stage(run, "train", unlabelled, options, options.unlabelled, steps)
    steps.step("test ensembles", f"teacher and assistant look at {options.test} test panoramas")
    _share_projection(run, test_run)
    for stage in ("masks", "label"):
        _stage(test_run, stage, test, options, options.test, steps)
    steps.step("scores", "student and assistant label the test panoramas; every step is scored")
    metrics = scores.score_all(out, options, steps)
    steps.step("report", "pictures, figures and times on one page")
    rows = report.time_rows(out, options)
    report.write(out, options, metrics, rows, steps)
    names = {subject.key: subject.name for subject in scores.subjects(out, options)}
    return DemoResult(metrics, names, rows, out / "report.html")


def _check_models(options: DemoOptions) -> None:
    """Miss what may be missing now, not after the rendering."""
    for option, name in (("--sam", options.sam), ("--assistant", options.assistant), ("--init", options.init)):
        if name == "regions" or name.endswith(".onnx"):
            continue
        folder = weights.resolve(name, option)
        if not (folder / "config.json").is_file():
            raise GoodSAMError(f"{option} {name}: {folder.name} is not part of this installation; install it again.")


def _claim(out: Path) -> None:
    """Make sure that `out` is a demo's folder, or can become one."""
    if out.exists() and not out.is_dir():
        raise GoodSAMError(f"--out {out}: is a file; give a folder, new or of an earlier demo.")
    marker = out / MARKER
    if marker.is_file():
        return
    if out.is_dir() and any(out.iterdir()):
        raise GoodSAMError(f"--out {out}: holds other things than a demo; give a new folder.")
    files.write_json(marker, {"made_by": f"goodsam demo {__version__}"})


def _share_projection(run: Run, test_run: Run) -> None:
    """Spare fitting the features' principal components again: nobody reads the test strips' features."""
    if run.projection.exists() and not test_run.projection.exists():
        files.write_bytes(test_run.projection, run.projection.read_bytes())


def _stage(run: Run, stage: str, images: Path, options: DemoOptions, limit: int, steps: Steps) -> None:
    """One stage of `goodsam distill` on the first `limit` images of a folder."""
    name = f"{run.root.name} {stage}"
    steps.measure(name, lambda: str(run.record(stage)["fingerprint"]))
    pipeline.distill(images / "images", run.root, options.run(limit), (stage,), steps)
