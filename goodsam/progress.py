"""How long a stage goes on: a hook for whoever shows bars, and the line of expected time and disk."""

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
log = logging.getLogger(__name__)

MEASURED_FIRST = 2
"""Items after which the expected time is said."""


class Progress(Protocol):
    """Shows how far a loop has come. The command line has one with bars; in Python the default shows nothing."""

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Yield the items, counting them up to `total`."""

    def note(self, text: str) -> None:
        """A short text beside the bar."""


class Silent:
    """Shows nothing."""

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Yield the items."""
        yield from items

    def note(self, text: str) -> None:
        """Nothing."""


class Pace:
    """Measures a stage on its first panoramas, says what the rest will take, and in the end what it took.

    Args:
        stage: its name.
        total: panoramas to do.
        folders: what it writes to, for the disk it will take.
    """

    def __init__(self, stage: str, total: int, folders: Iterable[Path]) -> None:
        self._stage, self._total, self._folders = stage, total, list(folders)
        self._done, self._start, self._before = 0, time.perf_counter(), self._bytes()

    def tick(self) -> None:
        """One panorama is done."""
        self._done += 1
        if self._done == MEASURED_FIRST and self._total > MEASURED_FIRST:
            each = self.seconds / self._done
            size = (self._bytes() - self._before) / self._done
            log.info(
                "%s: about %s and %s of disk for the other %d panoramas (%.2f s each).",
                self._stage,
                duration(each * (self._total - self._done)),
                disk(size * (self._total - self._done)),
                self._total - self._done,
                each,
            )

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.perf_counter() - self._start

    def summary(self) -> str:
        """A line with panoramas per second."""
        rate = self._done / max(self.seconds, 1e-9)
        return f"{self._done} panoramas in {duration(self.seconds)} ({rate:.2f} images/s)"

    def _bytes(self) -> int:
        return sum(file.stat().st_size for folder in self._folders for file in folder.rglob("*") if file.is_file())


def duration(seconds: float) -> str:
    """ "45 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def disk(size: float) -> str:
    """ "12.3 MB" and the like."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def pick_device(name: str) -> torch.device:
    """The device that `--device` names; "auto" takes CUDA, then Apple's GPU, then the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
