"""A comparison as text: the figures in words, and the tables for the terminal."""

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from goodsam.comparison.result import Compared, Comparison

HEADINGS = {
    "mIoU, %": "mIoU",
    "to A": "to A",
    "mIoU by solid angle": "solid\nangle",
    "mIoU near the seam": "near\nseam",
    "boundary F1": "bound.\nF1",
    "pixel accuracy": "pixel\nacc.",
    "parameters, M": "params\nM",
    "GFLOP": "GFLOP",
    "ms": "ms",
}
"""Of `figures`, and as short as a terminal of 80 columns needs them."""


def figures(one: Compared) -> list[str]:
    """A subject's row, as text under `HEADINGS`; an interval is on a line of its own."""
    found = one.evaluation
    shares = (found.miou_sphere, found.seam_miou, found.boundary_f1, found.pixel_accuracy)
    return [
        with_interval(percent(found.miou), interval(found.miou_interval)),
        with_interval(change(one.difference), interval(one.difference_interval, signed=True)),
        *map(percent, shares),
        _three_digits(one.parameters, 1e6),
        _three_digits(one.operations, 1e9),
        _three_digits(one.milliseconds, 1),
    ]


def _three_digits(value: float | None, unit: float) -> str:
    """In a unit, with three digits where it is under 1000, all of them where it is not."""
    if value is None:
        return "-"
    scaled = value / unit
    return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}"


def percent(value: float | None) -> str:
    """0.4567 -> "45.67"; a dash where there is no figure."""
    return "-" if value is None else f"{100 * value:.2f}"


def change(value: float | None) -> str:
    """0.0123 -> "+1.23"; nothing where there is no figure."""
    return "" if value is None else f"{100 * value:+.2f}"


def interval(ends: list[float] | None, signed: bool = False) -> str:
    """[0.4, 0.5] -> "40.00 to 50.00"; nothing where there is none."""
    return "" if ends is None else " to ".join(map(change if signed else percent, ends))


def with_interval(figure: str, ends: str) -> str:
    """Both, one below the other."""
    return f"{figure}\n{ends}" if ends else figure


def letter(place: int) -> str:
    """A, B, ...: a subject's short name where its own has no room; after Z its number."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def caption(comparison: Comparison) -> str:
    """What the figures mean."""
    return (
        "From .. to: where a figure may lie with other images of the kind, 95 %, bootstrap over images, differences "
        "paired. GFLOP: for the first image, products of matrices, convolutions and attention, a multiplication and an "
        f"addition as two. ms: median to label an image, without the first; {comparison.threads} threads read and "
        "counted beside it (--workers 1: one)."
    )


def tables(comparison: Comparison) -> list[RenderableType]:
    """What was compared, a row per subject with its figures, what they mean, and intersection over union by class."""
    subjects = comparison.subjects
    names = [f"{letter(place)}  {one.name}" for place, one in enumerate(subjects)]
    about = f"{comparison.data}, {subjects[0].evaluation.images} images; shares in percent"
    main = Table(box=SIMPLE, show_lines=len(subjects) < 5, collapse_padding=True, pad_edge=False)
    main.add_column("")
    for place, heading in enumerate(HEADINGS.values()):
        main.add_column(heading, justify="right", width=9 if place < 2 else None)  # an interval on two lines
    for place, one in enumerate(subjects):
        main.add_row(letter(place), *figures(one))
    return [Text("\n".join([about, *names])), main, Text(caption(comparison), style="dim"), _by_class(comparison)]


def _by_class(comparison: Comparison) -> Table:
    """Intersection over union by class; the difference only of two subjects, for which there is room."""
    pair = len(comparison.subjects) == 2
    table = Table(box=SIMPLE)
    table.add_column(Text(comparison.label_set.name), no_wrap=True)
    for place in range(len(comparison.subjects)):
        table.add_column(f"{letter(place)}, %", justify="right")
    if pair:
        table.add_column("B - A", justify="right")
    for name in comparison.label_set.names:
        cells = [percent(one.evaluation.per_class[name]) for one in comparison.subjects]
        differences = comparison.subjects[-1].per_class_difference
        cells += [change(differences[name])] if pair and differences else []
        table.add_row(Text(name), *cells)  # else what is in brackets would be taken for a style
    return table
