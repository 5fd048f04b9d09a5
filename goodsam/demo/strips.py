"""The demo's panoramas: strips of the street world, rendered where they are missing."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from goodsam import files
from goodsam.demo.options import LABEL_SET, DemoOptions
from goodsam.demo.times import Steps
from goodsam.errors import GoodSAMError
from goodsam.streetworld import Split, write_scenes
from goodsam.streetworld.cameras import CameraKind

CAMERA: CameraKind = "strip"
_SUFFIXES = {"images": ".jpg", "labels": ".png", "instances": ".png"}


@dataclass(frozen=True)
class Strips:
    """The first strips of a split in a folder of the demo: images/, made_with.json, and what `labelled` adds."""

    folder: Path
    split: Split
    size: tuple[int, int]
    """(H, W), pixels."""
    number: int
    """How many there must be; more are kept."""
    labelled: bool
    """Whether labels/, instances/ and scenes.json are kept; if not, they never reach the folder."""

    @property
    def made_with(self) -> dict[str, Any]:
        """What decides the bytes of a strip beside its index."""
        split = self.split
        return {
            "split": split.name, "seed": split.seed, "style": split.style, "camera": CAMERA, "size": list(self.size),
        }  # fmt: skip

    def begin(self) -> None:
        """Delete strips of another split or size, and what a stopped call left half done."""
        record = self.folder / "made_with.json"
        if not record.is_file() or files.read_json(record) != self.made_with:
            shutil.rmtree(self.folder, ignore_errors=True)
            files.write_json(record, self.made_with)
        known = self._listed()
        for path in (path for name in _SUFFIXES for path in (self.folder / name).glob("[0-9]*")):
            if self.labelled and path.stem not in known:
                path.unlink()

    def missing(self) -> list[int]:
        """Indices of strips that are not there."""
        names = _SUFFIXES if self.labelled else ("images",)
        known = self._listed()
        return [
            index
            for index in range(self.number)
            if (self.labelled and f"{index:05d}" not in known) or not all(self._file(n, index).is_file() for n in names)
        ]

    def take(self, rendered: Path, index: int) -> None:
        """Move one strip from the folder where it alone was rendered, and delete what is left there."""
        for name in _SUFFIXES if self.labelled else ("images",):
            target = self._file(name, index)
            target.parent.mkdir(parents=True, exist_ok=True)
            (rendered / name / target.name).replace(target)
        if self.labelled:
            known = self._listed() | _entries(rendered)
            entries = [known[stem] for stem in sorted(known)]
            files.write_json(
                self.folder / "scenes.json", {"label_set": LABEL_SET} | self.made_with | {"scenes": entries}
            )
        shutil.rmtree(rendered)

    def _file(self, name: str, index: int) -> Path:
        return self.folder / name / f"{index:05d}{_SUFFIXES[name]}"

    def _listed(self) -> dict[str, dict[str, Any]]:
        return _entries(self.folder)


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    """stem -> what `scenes.json` says of it."""
    path = folder / "scenes.json"
    return {entry["stem"]: entry for entry in files.read_json(path)["scenes"]} if path.is_file() else {}


def render_missing(sets: list[Strips], scratch: Path, options: DemoOptions, steps: Steps) -> None:
    """Render what is missing of several sets of strips, all cores at once, under one bar.

    Each strip is rendered into a folder of its own and moved from there: one that is in its set is whole, and the
    labels of unlabelled ones never come near those who learn.

    Args:
        sets: of strips.
        scratch: folder for strips in the making; deleted in the end.
        options: how many processes.
        steps: shows how far it is.
    """
    for strips in sets:
        strips.begin()
    shutil.rmtree(scratch, ignore_errors=True)
    todo = {scratch / f"{s.split.name}-{index}": (s, index) for s in sets for index in s.missing()}
    steps.measure("render", lambda: files.fingerprint_of(list(options.size)))
    if not todo:
        return
    if importlib.util.find_spec("embreex") is None:
        raise GoodSAMError(
            "goodsam demo: renders its panoramas with embreex, which is not installed; "
            "pip install 'goodsam[streetworld]', or in the project's folder: make demo."
        )
    jobs = {
        folder: (folder, 1, strips.split.seed, CAMERA, strips.split.style, strips.size, index)
        for folder, (strips, index) in todo.items()
    }
    workers = min(options.render_workers or os.cpu_count() or 1, len(jobs))
    for folder in steps.track(_in_processes(write_scenes, jobs, workers), len(jobs), "render"):
        strips, index = todo[folder]
        strips.take(folder, index)
    shutil.rmtree(scratch, ignore_errors=True)


def _in_processes(work: Callable[..., None], jobs: dict[Path, tuple[Any, ...]], workers: int) -> Iterator[Path]:
    """Do `work(*arguments)` of every job, and yield its key when it is done."""
    if workers == 1:
        for key, arguments in jobs.items():
            work(*arguments)
            yield key
        return
    # Not forked: Embree's threads would not survive that.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(work, *arguments): key for key, arguments in jobs.items()}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        finally:
            pool.shutdown(cancel_futures=True)
