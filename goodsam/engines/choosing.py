"""Which engine is the fastest one whose results are the network's own, measured on a real input."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goodsam.engines.building import Engine, build
from goodsam.engines.kinds import is_half
from goodsam.engines.likeness import Judge, Likeness
from goodsam.errors import GoodSAMError

log = logging.getLogger(__name__)

WORTH = 60.0
"""Seconds of work for PyTorch below which nothing else is tried: building others and measuring takes some ten."""
_REPEATS = 2
_SLOW = 5.0
"""Seconds of a run from which one measurement is enough."""


@dataclass(frozen=True)
class Choice:
    """An engine and why."""

    kind: str
    engine: Engine
    seconds: float
    """Of one run."""
    torch_seconds: float
    """Of one run in PyTorch, float32."""
    likeness: str
    """How alike its results are to PyTorch's; empty for PyTorch itself."""
    tried: bool = True
    """False where there was too little work to try others."""


def choose(module: nn.Module, pixels: Tensor, kinds: Sequence[str], judge: Judge, runs: int | None = None) -> Choice:
    """Build each kind, compare, measure, take the fastest.

    Args:
        module: see `building.build`.
        pixels: a real input.
        kinds: to choose from.
        judge: says whether results are alike.
        runs: how often the network will run; None where that is not to matter.
    Raises:
        GoodSAMError: none of the kinds can be built, or gives the network's results.
    """
    own = build(module, pixels, "torch")
    reference, first = _once(own, pixels)
    if runs is not None and first * runs < WORTH:
        return Choice("torch", own, first, first, "", tried=False)
    base = _fastest(own, pixels)
    best = Choice("torch", own, base, base, "") if "torch" in kinds else None
    refusals = []
    for kind in kinds:
        if kind == "torch":
            continue
        try:
            engine, likeness = _compared(module, pixels, kind, reference, judge)
        except GoodSAMError as refusal:
            log.info("not used: %s", refusal)
            refusals.append(refusal)
            continue
        seconds = _fastest(engine, pixels)
        if best is None or seconds < best.seconds:
            best = Choice(kind, engine, seconds, base, likeness.text)
    if best is None:
        raise refusals[0]
    return best


def _compared(
    module: nn.Module, pixels: Tensor, kind: str, reference: Sequence[Tensor], judge: Judge
) -> tuple[Engine, Likeness]:
    """An engine that gives the network's results.

    Raises:
        GoodSAMError: it cannot be built, or gives others.
    """
    engine = build(module, pixels, kind)
    likeness = judge(reference, engine(pixels), is_half(kind))
    if not likeness.good:
        raise GoodSAMError(f"--engine {kind}: its results differ ({likeness.text}); give --engine torch.")
    return engine, likeness


def _fastest(engine: Engine, pixels: Tensor) -> float:
    """Seconds of the fastest of some runs, since whatever else the machine does can only make one slower.

    There was one before them, in which what is prepared for a shape was prepared.
    """
    found: list[float] = []
    while len(found) < _REPEATS and (not found or found[-1] < _SLOW):
        found.append(_once(engine, pixels)[1])
    return min(found)


def _once(engine: Engine, pixels: Tensor) -> tuple[tuple[Tensor, ...], float]:
    """What a run gives, and its seconds."""
    start = time.perf_counter()
    outputs = engine(pixels)
    if pixels.device.type == "cuda":
        torch.cuda.synchronize(pixels.device)
    return outputs, time.perf_counter() - start
