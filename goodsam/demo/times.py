"""What each step took, kept on disk: a demo that was stopped still says in the end how long all of it took."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from goodsam import files
from goodsam.progress import Progress

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """Time that was spent on one thing."""

    seconds: float
    items: int
    """Strips or training steps that were done in that time, count."""


class Times:
    """`OUT/times.json`: seconds by what was done and by what it was made with.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, dict[str, Any]] = files.read_json(path) if path.exists() else {}

    def add(self, key: str, made_with: str, seconds: float, items: int) -> None:
        """Add to what was spent on `key` made with the fingerprint `made_with`, and write it down."""
        before = self.taken(key, made_with) or Taken(0.0, 0)
        entry = {"seconds": round(before.seconds + seconds, 3), "items": before.items + items}
        self._entries.setdefault(key, {})[made_with] = entry
        files.write_json(self._path, self._entries)

    def taken(self, key: str, made_with: str) -> Taken | None:
        """What was spent, over all calls; None where nothing was."""
        entry = self._entries.get(key, {}).get(made_with)
        return Taken(entry["seconds"], entry["items"]) if entry else None


class Steps:
    """The steps of a demo as a `Progress`: says which of how many it is, and measures what each thing took.

    Args:
        progress: shows the bars.
        times: where the seconds go.
        total: steps of the demo, count.
    """

    def __init__(self, progress: Progress, times: Times, total: int) -> None:
        self._progress, self._times, self._total = progress, times, total
        self._number = 0
        self._text = ""
        self._begin("", lambda: "")

    def step(self, name: str, about: str) -> None:
        """The next step begins.

        Args:
            name: a few words, for its bars.
            about: what it does, for the log.
        """
        self._number += 1
        self._text = f"{self._number} of {self._total}: {name}"
        log.info("%s: %s.", self._text, about)

    def measure(self, key: str, made_with: Callable[[], str]) -> None:
        """What is tracked from now on belongs to `key`; so does the time until then, such as for loading a model.

        Args:
            key: what is done.
            made_with: gives the fingerprint of what it is done with, asked for when the first item is done.
        """
        self._begin(key, made_with)

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Yield the items under a bar that is named after the step; nothing to do takes no time."""
        if not total:
            return
        for item in self._progress.track(items, total, self._text or what):
            yield item
            self._add(1)
        self._add(0)

    def note(self, text: str) -> None:
        """A short text beside the bar."""
        self._progress.note(text)

    def _begin(self, key: str, made_with: Callable[[], str]) -> None:
        self._key, self._made_with, self._since = key, made_with, time.perf_counter()

    def _add(self, items: int) -> None:
        now = time.perf_counter()
        if self._key:
            self._times.add(self._key, self._made_with(), now - self._since, items)
        self._since = now
