"""How large a demo is, and which models take part."""

from dataclasses import dataclass
from typing import Any, Literal

from goodsam.config import Device, RunOptions, run_options
from goodsam.streetworld.cameras import VFOV

UNLABELLED_SPLIT, TEST_SPLIT = "target-unlabelled", "target-dev"
"""Splits of the street world: what the student learns from, and what every step is scored on."""
LABEL_SET = "densepass13"
"""Classes of the street world."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Everything that decides what a demo gives. Two demos in one folder share what both would make alike."""

    unlabelled: int = 24
    """Strips that the student learns from, count; the first ones of their split."""
    test: int = 12
    """Strips that the steps are scored on, count; the first ones of theirs."""
    shown: int = 4
    """Test strips that the report shows, count; the first ones, not the best ones."""
    size: tuple[int, int] = (400, 2048)
    """(H, W) of a strip, pixels."""
    sam: str = "street"
    """Teacher, as `goodsam distill` takes it."""
    assistant: str = "street"
    """Assistant, as `goodsam distill` takes it."""
    init: str = "street"
    """What the student starts from, a SegFormer that knows the classes; scored as it is for the step `start`."""
    preset: Literal["fast", "balanced", "dense"] = "fast"
    """How many prompts the teacher is asked and how strict its filters are, see `goodsam distill --help`."""
    steps: int = 60
    """Training steps, count."""
    batch_size: int = 1
    """Panoramas in one step, count."""
    train_size: str = "400x2048"
    """HxW in pixels at which the student labels, and of which it sees patches and a shrunken whole."""
    learning_rate: float = 6e-4
    """Peak learning rate."""
    warmup: int = 6
    """Steps until the learning rate is at its peak, count."""
    checkpoint_every: int = 20
    """Steps between checkpoints, count: what a stopped training loses at most."""
    train_workers: int = 1
    """Processes that read and augment beside the training, count."""
    render_workers: int | None = None
    """Processes that render side by side, count; None for one per core."""
    device: Device = "auto"
    """auto takes CUDA, then Apple's GPU, then the CPU."""

    @property
    def vfov(self) -> float:
        """Vertical field of view of a strip, degrees."""
        return VFOV["strip"]

    def run(self, limit: int) -> RunOptions:
        """What `goodsam distill` would be given: the first `limit` panoramas of a folder."""
        given: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "vfov", "sam", "preset", "assistant", "init", "steps", "batch_size", "train_size",
                "learning_rate", "warmup", "checkpoint_every", "device",
            )
        }  # fmt: skip
        return run_options(limit=limit, label_set=LABEL_SET, student="t", workers=self.train_workers, **given)


FULL = DemoOptions()
"""What `goodsam demo` does."""
FAST = DemoOptions(unlabelled=5, test=3, shown=2, steps=8, warmup=2)
"""What `goodsam demo --fast` does: the first strips of the same ones, so that either goes on from the other."""
