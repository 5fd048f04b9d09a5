"""Results that are kept for the next call as long as they fit into so many bytes."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def cached(most: int, bytes_of: Callable[[Any], int]) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """As `functools.lru_cache`, bounded by bytes: how many results that is depends on how large panoramas are.

    Args:
        most: bytes that all results together may have; a larger one is not kept.
        bytes_of: a result -> its bytes.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        known: OrderedDict[tuple[Any, ...], tuple[Result, int]] = OrderedDict()
        lock, total = threading.Lock(), 0

        @functools.wraps(function)
        def call(*key: Any) -> Result:
            nonlocal total
            with lock:
                if key in known:
                    known.move_to_end(key)
                    return known[key][0]
            result = function(*key)
            size = bytes_of(result)
            if size > most:
                return result
            with lock:
                if key not in known:
                    known[key] = (result, size)
                    total += size
                while total > most:
                    total -= known.popitem(last=False)[1][1]
            return result

        return call

    return decorate
