"""A subject in a comparison: what it takes is measured in the pass that scores it."""

import statistics
import time
from dataclasses import dataclass, replace

import numpy as np

from goodsam import costs
from goodsam.comparison.pictures import Gallery
from goodsam.comparison.result import Compared
from goodsam.metrics import Scores
from goodsam.subjects import Image, Subject


@dataclass
class Entrant:
    """A subject, its scores, and what labelling takes; a network is counted at the first image and timed at all."""

    subject: Subject
    scores: Scores

    def __post_init__(self) -> None:
        self.operations: int | None = None
        self._seconds: list[float] = []
        self.watched = replace(self.subject, predict=self._predict) if self.subject.looks else self.subject
        """What to score in place of the subject."""

    def _predict(self, stem: str, image: Image | None) -> np.ndarray:
        if not self._seconds:  # asked apart, so that what counts cannot change what is scored
            self.operations = costs.operations(self.subject, stem, image)
        start = time.perf_counter()
        labels = self.subject.predict(stem, image)
        self._seconds.append(time.perf_counter() - start)
        return labels

    @property
    def milliseconds(self) -> float | None:
        """Median over the images, without the first, at which kernels are chosen and memory is taken; None of one."""
        return 1000 * statistics.median(self._seconds[1:]) if len(self._seconds) > 1 else None

    def alone(self, name: str, data: str) -> Compared:
        """Its figures, compared with nobody's.

        Args:
            name: to show.
            data: as `compare` takes it.
        """
        evaluation = self.scores.result(self.subject.name, data, self.subject.weights)
        return Compared(name, evaluation, self.subject.parameters, self.operations, self.milliseconds)

    def against(self, first: "Entrant", name: str, data: str, gallery: Gallery | None) -> Compared:
        """Its figures, compared with those of another on the same images in the same order."""
        own, start = self.alone(name, data), first.alone("", data)
        before = start.evaluation.per_class
        return replace(
            own,
            difference=_less(own.evaluation.miou, start.evaluation.miou),
            difference_interval=self.scores.resampled.interval(first.scores.resampled),
            per_class_difference={key: _less(iou, before[key]) for key, iou in own.evaluation.per_class.items()},
            gains=gallery.gains if gallery else [],
            losses=gallery.losses if gallery else [],
        )


def _less(value: float | None, start: float | None) -> float | None:
    return None if value is None or start is None else value - start
