"""Where the time of a run goes, and how far each part is from what the machine could do: `--profile`.

Parts are timed where they happen, `with timed("encoder"):`, at no cost while nobody asks. What one part does inside
another is counted for the inner one alone. The floor of a network is the larger of its operations over the rate at
which the machine multiplies matrices, and the bytes of its weights over the rate at which it copies.
"""

import contextlib
import io
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

PARTS = ("load", "views", "hint", "encoder", "decoder", "filter", "assistant", "merge", "fuse", "write")
"""In the order in which a panorama meets them."""


@dataclass
class Part:
    """One part of the work."""

    seconds: float = 0.0
    calls: int = 0
    operations: float = 0.0
    """Floating-point operations; a multiplication and an addition are two."""
    bytes: float = 0.0


@dataclass
class Profile:
    """What has been timed since `start`."""

    parts: dict[str, Part] = field(default_factory=dict)
    _known: dict[Hashable, float] = field(default_factory=dict)
    """Operations of a network by part and shapes, counted when first seen."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _own: threading.local = field(default_factory=threading.local)

    @contextlib.contextmanager
    def timed(
        self, name: str, network: nn.Module | None, shapes: Hashable, again: Callable[[], object] | None
    ) -> Iterator[None]:
        """Time what happens inside; see `timed`."""
        inner: list[float] = getattr(self._own, "inner", [])
        self._own.inner = inner
        key = (name, shapes)
        if network is not None and again is not None and key not in self._known:
            with counting() as counter:
                again()
            self._known[key] = float(counter.get_total_flops())
        inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            own = seconds - inner.pop()
            if inner:
                inner[-1] += seconds
            with self._lock:
                part = self.parts.setdefault(name, Part())
                part.seconds += own
                part.calls += 1
                part.operations += self._known.get(key, 0.0)
                part.bytes += 0.0 if network is None else bytes_of(network)


_active: Profile | None = None


@contextlib.contextmanager
def profiled(on: bool = True) -> Iterator[Profile | None]:
    """Collect what is timed inside, in all threads; one at a time in a process."""
    global _active
    before, _active = _active, Profile() if on else None
    try:
        yield _active
    finally:
        _active = before


def timed(
    name: str,
    network: nn.Module | None = None,
    shapes: Hashable = None,
    again: Callable[[], object] | None = None,
) -> contextlib.AbstractContextManager[None]:
    """Time a block under a name of `PARTS`, if somebody asked for a profile.

    Args:
        name: of the part.
        network: that the block runs, once.
        shapes: what its operations depend on.
        again: does what the network does, in PyTorch whatever the block does it with; called once for each of `shapes`,
            before the clock starts, to count its operations.
    """
    return contextlib.nullcontext() if _active is None else _active.timed(name, network, shapes, again)


def counting() -> FlopCounterMode:
    """A counter of the operations that PyTorch does inside `with counting() as counter:`.

    Counted are products of matrices, convolutions and attention, on a CPU too; a product and a sum are two.
    """
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    return FlopCounterMode(display=False, custom_mapping=attention)


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Of shapes (B, heads, queries, d), (B, heads, keys, d), (B, heads, keys, e): two products of matrices.

    On a CPU attention is an operation of its own, which PyTorch's table lacks.
    """
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def bytes_of(network: nn.Module) -> float:
    """Bytes of a network's weights."""
    return float(sum(item.numel() * item.element_size() for item in network.parameters()))


@dataclass(frozen=True)
class Machine:
    """What a device was measured to do, with as many threads as PyTorch uses."""

    operations: float
    """Floating-point operations a second of a large product of float32 matrices."""
    bandwidth: float
    """Bytes a second, read and written, of a copy larger than its caches."""


def measure(device: torch.device, repeats: int = 5) -> Machine:
    """Multiply and copy, and take the fastest of some repeats: about a second."""
    side = 1536 if device.type == "cpu" else 8192
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    source = torch.rand(1 << (25 if device.type == "cpu" else 28), device=device)
    target = torch.empty_like(source)
    multiply = _fastest(lambda: torch.mm(a, b), device, repeats)
    copy = _fastest(lambda: target.copy_(source), device, repeats)
    return Machine(2 * side**3 / multiply, 2 * source.numel() * 4 / copy)


def _fastest(work: Callable[[], Tensor], device: torch.device, repeats: int) -> float:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - start)
    return min(found)


def floor_of(part: Part, machine: Machine) -> float:
    """Seconds that a network's part cannot take less than; 0 for a part without a network."""
    return max(part.operations / machine.operations, part.bytes / machine.bandwidth)


def table(profile: Profile, machine: Machine, panoramas: int, seconds: float) -> Table:
    """A row for each part: seconds a panorama, share, floor and distance to it.

    Args:
        profile: what was timed.
        machine: what it can do.
        panoramas: how many were done.
        seconds: that passed on the clock; parts that ran beside each other add up to more.
    """
    rate = f"{machine.operations / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.1f} GB/s measured"
    result = Table(title=f"{panoramas} panoramas, {panoramas / max(seconds, 1e-9):.3f} images/s; {rate}")
    for name in ("part", "s/panorama", "share, %", "floor, s", "times the floor"):
        result.add_column(name, justify="left" if name == "part" else "right")
    total = sum(part.seconds for part in profile.parts.values())
    for name in _in_order(list(profile.parts)):
        part = profile.parts[name]
        floor = floor_of(part, machine)
        of_floor = (f"{floor / panoramas:.3f}", f"{part.seconds / floor:.1f}") if floor else ("-", "-")
        result.add_row(name, f"{part.seconds / panoramas:.3f}", f"{100 * part.seconds / total:.1f}", *of_floor)
    other = max(0.0, seconds - total)
    result.add_row("not timed", f"{other / panoramas:.3f}", "-", "-", "-")
    return result


def _in_order(names: Sequence[str]) -> list[str]:
    return [name for name in PARTS if name in names] + [name for name in names if name not in PARTS]


def as_text(rows: Table) -> str:
    """A table as plain lines, for a log."""
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(rows)
    return capture.get().rstrip()
