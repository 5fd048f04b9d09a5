"""Region merging: neighbouring regions joined pair by pair, the pair of least cost (Ward's criterion) first."""

import heapq
from collections.abc import Iterable

import numpy as np


def merge_regions(finest: np.ndarray, values: np.ndarray, numbers: Iterable[int]) -> list[np.ndarray]:
    """Merge neighbouring regions by Ward's criterion: cheapest |a| |b| / (|a| + |b|) * ||mean_a - mean_b||^2 first.

    Args:
        finest: int64 (h, w), region numbers 0..R-1.
        values: float (h, w, D), what regions are compared by.
        numbers: of regions to stop at on the way; those of R and above are left out.
    Returns:
        per scale, int64 (R,): the number of the region that each finest region belongs to; the finest scale's own
        numbers first, then `numbers`, descending.
    """
    tree = _Merging(finest, values)
    scales = [tree.roots()]
    for number in sorted({n for n in numbers if 0 < n < tree.left}, reverse=True):
        tree.merge_down_to(number)
        scales.append(tree.roots())
    return scales


class _Merging:
    """Regions being merged: who is alive, who touches whom, and a heap of what each merge would cost."""

    def __init__(self, finest: np.ndarray, values: np.ndarray) -> None:
        flat = finest.ravel()
        area = np.bincount(flat)
        sums = [np.bincount(flat, channel) for channel in values.reshape(flat.size, -1).T]
        self.left = len(area)
        self._area: list[float] = area.astype(float).tolist()
        self._mean: list[list[float]] = (np.stack(sums, axis=1) / area[:, None]).tolist()
        self._parent = list(range(self.left))
        self._touching = _neighbours(finest, self.left)
        self._changes = [0] * self.left
        self._heap = [(self._cost(a, b), a, b, 0, 0) for a in range(self.left) for b in self._touching[a] if a < b]
        heapq.heapify(self._heap)

    def _cost(self, a: int, b: int) -> float:
        distance = sum((x - y) ** 2 for x, y in zip(self._mean[a], self._mean[b], strict=True))
        return self._area[a] * self._area[b] / (self._area[a] + self._area[b]) * distance

    def merge_down_to(self, number: int) -> None:
        """Merge the cheapest pair until `number` regions are left, or nothing touches any more."""
        while self.left > number and self._heap:
            _, a, b, changes_a, changes_b = heapq.heappop(self._heap)
            if (changes_a, changes_b) == (self._changes[a], self._changes[b]):
                self._merge(a, b)

    def _merge(self, a: int, b: int) -> None:
        area = self._area[a] + self._area[b]
        share = self._area[b] / area
        self._mean[a] = [x + share * (y - x) for x, y in zip(self._mean[a], self._mean[b], strict=True)]
        self._area[a] = area
        self._parent[b] = a
        self._changes[a] += 1
        self._changes[b] = -1  # no entry of the heap matches it again
        self.left -= 1
        self._touching[a] = (self._touching[a] | self._touching[b]) - {a, b}
        for other in self._touching[b] - {a}:
            self._touching[other] = (self._touching[other] - {b}) | {a}
        # Sorted, so that ties are broken alike however a set is laid out in memory.
        for other in sorted(self._touching[a]):
            entry = (self._cost(a, other), a, other, self._changes[a], self._changes[other])
            heapq.heappush(self._heap, entry)

    def roots(self) -> np.ndarray:
        """int64 (R,): the region that each finest region has become part of."""
        roots = np.array(self._parent)
        while not np.array_equal(roots[roots], roots):
            roots = roots[roots]
        return roots


def _neighbours(regions: np.ndarray, number: int) -> list[set[int]]:
    """Per region, those that share an edge of a pixel with it."""
    along, down = (regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])
    pairs = np.concatenate([(a * number + b)[a != b] for a, b in (along, down)])
    touching: list[set[int]] = [set() for _ in range(number)]
    for a, b in zip(*(side.tolist() for side in np.divmod(np.unique(pairs), number)), strict=True):
        touching[a].add(b)
        touching[b].add(a)
    return touching
