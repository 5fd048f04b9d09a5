"""What a comparison found, and what compare.json holds."""

from dataclasses import asdict, dataclass, field
from typing import Any

from goodsam.comparison.pictures import Example
from goodsam.labels import LabelSet
from goodsam.metrics import Evaluation


@dataclass(frozen=True)
class Compared:
    """One subject of a comparison. Shares are 0..1, None where nothing could be counted."""

    name: str
    """As it was asked for, with a number where that was asked for twice."""
    evaluation: Evaluation
    """As `goodsam evaluate` gives it."""
    parameters: int | None
    """Number of its weights; None where they are not to be seen."""
    operations: int | None
    """To label the first image, a multiplication and an addition counted as two; see `costs`. None for label maps."""
    milliseconds: float | None
    """To label an image, median, the first left out; None for label maps."""
    difference: float | None = None
    """mIoU less that of the first subject; None for the first."""
    difference_interval: list[float] | None = None
    """Where `difference` may lie with other images of the kind: 95 %, bootstrap over images, paired."""
    per_class_difference: dict[str, float | None] = field(default_factory=dict)
    """Intersection over union less that of the first subject, by class; empty for the first."""
    gains: list[Example] = field(default_factory=list)
    """Images on which it gains most on the first subject, the most first."""
    losses: list[Example] = field(default_factory=list)
    """Images on which it loses most."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, without the pictures."""
        examples = {key: [one.to_json() for one in getattr(self, key)] for key in ("gains", "losses")}
        own = {key: getattr(self, key) for key in self.__dataclass_fields__ if key not in ("evaluation", *examples)}
        return own | examples | {"evaluation": self.evaluation.to_json()}

    @property
    def sure(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        ends = self.difference_interval
        return ends is not None and (ends[0] > 0 or ends[1] < 0)


@dataclass(frozen=True)
class Comparison:
    """Subjects on one data set, the first of which the others are compared with."""

    data: str
    label_set: LabelSet
    """Of the data, in which all of them were scored."""
    threads: int
    """That read and counted beside the networks."""
    subjects: list[Compared]

    def to_json(self) -> dict[str, Any]:
        """compare.json as a plain dictionary."""
        about = {"data": self.data, "label_set": asdict(self.label_set), "threads": self.threads}
        return about | {"subjects": [one.to_json() for one in self.subjects]}
