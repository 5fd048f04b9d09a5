"""The training curve as SVG: readable in light and dark, without a script."""

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 46
"""Room around the axes, SVG units."""


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers from `low` to `high`, at least two apart by 1, 2 or 5 times a power of ten."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9) / wanted))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, a tenth of the whole on either side at most."""
    reach = len(values) // 20
    spans = [values[max(0, n - reach) : n + reach + 1] for n in range(len(values))]
    return [sum(span) / len(span) for span in spans]


def training_curve(steps: Sequence[int], losses: Sequence[float]) -> str:
    """Loss over steps as an `<svg>` element: each step thin, the running mean thick.

    Args:
        steps: counted from 0.
        losses: as many.
    """
    if not losses:
        return "<p>No training steps were written down.</p>"
    high = max(losses) * 1.05 or 1.0
    last = max(steps[-1] + 1, 2)

    def x(step: float) -> float:
        return round(LEFT + (step - 1) / (last - 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(loss: float) -> float:
        return round(HEIGHT - BOTTOM - loss / high * (HEIGHT - TOP - BOTTOM), 1)

    def line(values: Sequence[float], name: str) -> str:
        points = " ".join(f"{x(step + 1)},{y(loss)}" for step, loss in zip(steps, values, strict=True))
        return f'<polyline class="{name}" points="{points}"/>'

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="curve-title">',
        f'<title id="curve-title">Training loss from {losses[0]:.3f} at step 1 to {losses[-1]:.3f} at step '
        f"{steps[-1] + 1}</title>",
    ]
    for loss in ticks(0, high):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(loss)}" y2="{y(loss)}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(loss) + 5}" text-anchor="end">{loss:g}</text>')
    whole = [1, *(tick for tick in ticks(1, last) if tick == int(tick) and tick > 1)]
    parts += [f'<text x="{x(step)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{step:g}</text>' for step in whole]
    parts += [
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(0)}" y2="{y(0)}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{y(0)}"/>',
        line(losses, "each"),
        line(smoothed(losses), "mean"),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">training step</text>',
        f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">loss</text>',
        "</svg>",
    ]
    return "\n".join(parts)
