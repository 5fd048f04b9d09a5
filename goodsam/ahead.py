"""Reading ahead of the work and writing behind it, in threads; what comes out, and its order, do not depend on it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WAITING = 2
"""Pieces of writing that may wait before the work does: what waits is held in memory."""


def ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """`map` in threads that runs at most `depth` items ahead of what is taken: memory does not grow with the items."""
    running: deque[Future[R]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) > depth:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


class Behind:
    """Does pieces of writing one after the other in a thread of its own, in the order in which they were given."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._running: deque[Future[None]] = deque()

    def __call__(self, write: Callable[[], None]) -> None:
        """Have something written soon; waits while too much is waiting already.

        Raises:
            Exception: what an earlier piece raised.
        """
        self._pool = self._pool or ThreadPoolExecutor(1)
        while len(self._running) >= WAITING:
            self._running.popleft().result()
        self._running.append(self._pool.submit(write))

    def flush(self) -> None:
        """Wait until everything is written.

        Raises:
            Exception: what a piece raised.
        """
        while self._running:
            self._running.popleft().result()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
