"""A frozen network and the engines that run it, one for each shape of its input."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from goodsam.engines.building import Engine, build
from goodsam.engines.choosing import Choice, choose
from goodsam.engines.kinds import is_half
from goodsam.engines.likeness import Judge
from goodsam.weights import WeightFile

log = logging.getLogger(__name__)

SHAPES = 4
"""How many engines are kept; each holds the network's weights. Views of one size of panorama share a shape."""


class FrozenNetwork:
    """A network whose weights do not change while an engine other than PyTorch runs it.

    Args:
        module: see `building.build`.
        judge: says whether an engine's results are the network's.
    """

    def __init__(self, module: nn.Module, judge: Judge) -> None:
        # A wrapper is born in training mode, and the ONNX exporter would put all that it holds back into it.
        self._module, self._judge = module.eval(), judge
        self._kind = "torch"
        self._built: dict[tuple[int, ...], Engine] = {}

    @property
    def kind(self) -> str:
        """Of the engines that run it; "torch" until one is chosen."""
        return self._kind

    def use(self, kind: str) -> None:
        """Run it through engines of this kind from now on."""
        if kind != self._kind:
            self._kind, self._built = kind, {}

    def choose(self, kinds: Sequence[str], pixels: Tensor, runs: int | None = None) -> Choice:
        """Use the best of some kinds from now on; arguments as of `choosing.choose`."""
        choice = choose(self._module, pixels, kinds, self._judge, runs)
        self._kind, self._built = choice.kind, {tuple(pixels.shape): choice.engine}
        return choice

    def __call__(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """What the network gives, without gradients; a new shape takes seconds."""
        shape = tuple(pixels.shape)
        engine = self._built.pop(shape, None) or self._build(pixels)
        self._built[shape] = engine  # last, so that the first is the one that was not used for longest
        while len(self._built) > SHAPES:
            del self._built[next(iter(self._built))]
        return engine(pixels)

    def _build(self, pixels: Tensor) -> Engine:
        """An engine for a new shape, compared with the network: where it differs, that is said."""
        own = build(self._module, pixels, "torch")
        if self._kind == "torch":
            return own
        reference = own(pixels)
        engine = build(self._module, pixels, self._kind)
        likeness = self._judge(reference, engine(pixels), is_half(self._kind))
        if not likeness.good:
            log.warning(
                "--engine %s: on %d x %d pixels its results differ (%s); --engine torch would give the network's own.",
                self._kind, pixels.shape[3], pixels.shape[2], likeness.text,
            )  # fmt: skip
        return engine


@dataclass(frozen=True)
class Expert:
    """The network of a stage, and how the stage uses it."""

    role: str
    """teacher or assistant."""
    network: FrozenNetwork
    weights: tuple[WeightFile, ...]
    show: Callable[[np.ndarray], Tensor]
    """From a view, uint8 (h, w, 3), to what the network takes."""
    looks: int = 1
    """How often it runs for each view."""
    shapes: int = 0
    """How many shapes of its input each size of panorama leads to; 0 where all sizes become one."""
