"""What the stages of one call share: reading panoramas, measuring the pace, saying what was left out."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from goodsam.ahead import Behind, ahead
from goodsam.config import RunOptions, parse_scales, parse_shard
from goodsam.engines.kinds import check as check_engine
from goodsam.errors import GoodSAMError, UnreadableImageError
from goodsam.images import read_label_map
from goodsam.panorama import Geometry, Panorama, read_panorama
from goodsam.profiling import as_text, measure, profiled, table, timed
from goodsam.progress import Pace, Progress, pick_device
from goodsam.run import STAGE_FOLDERS, Input, Run
from goodsam.views import View, lay_views
from goodsam.weights import WeightFile

log = logging.getLogger(__name__)
T = TypeVar("T")

STAGE_OPTIONS = {
    "masks": ("input", "view", "teacher", "machine"),
    "adapt": ("input", "view", "assistant", "adapt", "machine"),
    "label": ("input", "view", "assistant", "fusion", "machine"),
    "train": ("input", "student", "loss", "level", "train", "machine"),
}
"""The parts of `RunOptions` that each stage looks at."""


@dataclass(frozen=True)
class Job:
    """What the stages of one call share."""

    run: Run
    options: RunOptions
    progress: Progress
    behind: Behind = field(default_factory=Behind)
    """Writes beside the work; `each` waits for it before it says that a stage is finished."""
    panoramas: tuple[Path, ...] = ()
    """All of the folder, whatever `--limit` says; empty where that does not matter."""

    def check(self) -> None:
        """Look at what can be wrong before anything long begins."""
        parse_shard(self.options.input.shard)
        check_engine(self.options.machine.engine, pick_device(self.options.machine.device))
        if self.options.input.limit is not None and self.options.input.limit < 1:
            raise GoodSAMError(f"--limit {self.options.input.limit}: must be at least 1.")
        if self.options.fusion.mask_weight < 0:
            raise GoodSAMError(f"--mask-weight {self.options.fusion.mask_weight:g}: must be 0 or more.")
        for name in ("held_back", "average", "drop", "rare_patches"):
            share = self.options.flat()[name]
            if not 0 <= share <= 1:
                raise GoodSAMError(f"--{name.replace('_', '-')} {share:g}: must be from 0 to 1.")
        if self.options.loss.temperature <= 0:
            raise GoodSAMError(f"--temperature {self.options.loss.temperature:g}: must be above 0.")
        if self.options.train.rounds < 1:
            raise GoodSAMError(f"--rounds {self.options.train.rounds}: must be at least 1.")
        if self.options.adapt.adapt_steps < 0:
            raise GoodSAMError(f"--adapt-steps {self.options.adapt.adapt_steps}: must be 0 (off) or more.")
        parse_scales(self.options.view.view_scale)
        if self.options.input.ego not in ("auto", "off"):
            if not Path(self.options.input.ego).is_file():
                raise GoodSAMError(f"--ego {self.options.input.ego}: must be auto, off or a PNG file; no such file.")
            read_label_map(Path(self.options.input.ego))

    def begin(
        self, stage: str, made_with: dict[str, Any], weights: Sequence[WeightFile], resolved: dict[str, Any]
    ) -> str:
        """`Run.begin` with the options that this stage looks at, defaults replaced by what they came to."""
        flat = self.options.flat() | resolved
        names = [field.name for part in STAGE_OPTIONS[stage] for field in fields(getattr(self.options, part))]
        return self.run.begin(stage, made_with, {name: flat[name] for name in names}, weights)

    def read(self, item: Input) -> Panorama:
        """One panorama of the run."""
        with timed("load"):
            return read_panorama(item.path, self.options.input.vfov, self.options.input.horizon)

    def views(self, panorama: Panorama) -> tuple[View, ...]:
        """The views through which teacher and assistant see a panorama."""
        options = self.options.view
        return lay_views(panorama.geometry, options.views, options.view_width, options.view_step)

    def each(
        self,
        stage: str,
        inputs: list[Input],
        done: Callable[[Input], bool],
        ready: Callable[[Input], bool] = lambda item: True,
    ) -> Iterator[tuple[Input, Panorama]]:
        """This shard's panoramas that are still to do, read; unreadable ones are said and noted.

        The loop over this generator is where a stage spends its time, so pace and progress are measured here.

        Args:
            stage: its name.
            inputs: all, of which a shard takes every N-th, whatever is ready: so every stage's shards are the same.
            done: whether a panorama needs nothing more.
            ready: whether the stage before has left what this one needs.
        """
        index, number = parse_shard(self.options.input.shard)
        own = [item for item in inputs[index::number] if ready(item)]
        todo = [item for item in own if not done(item)]
        if len(todo) < len(own):
            log.info("%s: %d panoramas already done.", stage, len(own) - len(todo))
        pace = Pace(stage, len(todo), [self.run.root / name for name in STAGE_FOLDERS[stage]])
        left_out: dict[str, str] = {}
        read = []
        seen: set[Geometry] = set()
        for item, panorama in self._profiled(stage, self.progress.track(self._read_ahead(todo), len(todo), stage)):
            if isinstance(panorama, UnreadableImageError):
                log.warning("left out: %s", panorama)
                left_out[item.stem] = str(panorama)
                continue
            if panorama.geometry not in seen:
                seen.add(panorama.geometry)
                log.info("%s: %s.", stage, describe(panorama.geometry, self.views(panorama)))
            yield item, panorama
            read.append(item.stem)
            pace.tick()
        self.run.note_left_out(left_out, read)
        if todo:
            log.info("%s: %s.", stage, pace.summary())
        known = self.run.inputs()
        readable = [item for item in inputs if ready(item) and "left_out" not in known[item.stem]]
        if all(done(item) for item in readable):
            self.run.finish(stage, panoramas=len(readable))
        if not readable:
            self.complain(inputs)

    def _profiled(self, stage: str, items: Iterator[T]) -> Iterator[T]:
        """The items; with `--profile` then a table of where the time of the loop over them went."""
        number, start = 0, time.perf_counter()
        with profiled(self.options.machine.profile) as profile:
            for item in items:
                yield item
                number += 1
            self.behind.flush()
        if profile is not None and number:
            seconds = time.perf_counter() - start
            machine = measure(pick_device(self.options.machine.device))
            log.info("%s:\n%s", stage, as_text(table(profile, machine, number, seconds)))

    def _read_ahead(self, inputs: list[Input]) -> Iterator[tuple[Input, Panorama | UnreadableImageError]]:
        """Panoramas, or why one cannot be read; the next one is read while one is worked on."""

        def read(item: Input) -> tuple[Input, Panorama | UnreadableImageError]:
            try:
                return item, self.read(item)
            except UnreadableImageError as error:
                return item, error

        with ThreadPoolExecutor(1) as pool:
            yield from ahead(pool, read, inputs, 1)

    def complain(self, inputs: list[Input]) -> None:
        """Say how many inputs were left out; an error if all were, or any with `--strict`."""
        known = self.run.inputs()
        left_out = [known[item.stem]["left_out"] for item in inputs if "left_out" in known[item.stem]]
        if not left_out:
            return
        text = f"{len(left_out)} of {len(inputs)} inputs were left out (run.yaml lists them); the first: {left_out[0]}"
        if self.options.input.strict or len(left_out) == len(inputs):
            raise GoodSAMError(text)
        log.warning("%s", text)


def describe(geometry: Geometry, views: Sequence[View]) -> str:
    """A line about panoramas of one size: what of the sphere they show, and how it is looked at."""
    kinds = {"crop": "crops", "tangent": "tangent views"}
    return (
        f"panoramas of {geometry.width}x{geometry.height} pixels span {geometry.vfov:.1f} degrees of pitch "
        f"(--vfov), seen through {len(views)} {kinds[views[0].kind]}"
    )
