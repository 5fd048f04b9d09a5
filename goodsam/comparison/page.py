"""compare.html: tables and pictures in one file, no scripts, nothing from elsewhere."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from goodsam import __version__
from goodsam.comparison.pictures import BETTER, BOTH, NONE, WORSE, Example, Picture
from goodsam.comparison.result import Compared, Comparison
from goodsam.comparison.tables import HEADINGS, caption, change, figures, letter, percent
from goodsam.labels import LabelSet

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
WIDE = 2.5
"""Width over height from which pictures are not shrunk to a narrow screen but scroll."""


def html_of(comparison: Comparison) -> str:
    """The whole page."""
    subjects, label_set = comparison.subjects, comparison.label_set
    listed = "".join(f"<li><b>{letter(place)}</b> {escape(one.name)}</li>" for place, one in enumerate(subjects))
    return Template((Path(__file__).parent / "page.html").read_text()).substitute(
        data=escape(comparison.data),
        number=len(subjects),
        images=subjects[0].evaluation.images,
        class_count=len(label_set),
        label_set=escape(label_set.name),
        subjects=listed,
        figures=figure_table(subjects),
        caption=escape(caption(comparison)),
        classes=class_table(comparison),
        legend=legend(label_set),
        pictures="\n".join(gallery(letter(place), one) for place, one in enumerate(subjects) if place),
        version=escape(__version__),
    )


def figure_table(subjects: Sequence[Compared]) -> str:
    """A row per subject; intervals small below their figures."""
    rows = []
    for place, one in enumerate(subjects):
        main, against, *others = figures(one)
        cells = [_cell(main), _cell(against, kind=_direction(one.difference) if one.sure else ""), *map(_cell, others)]
        rows.append(f'<tr><th scope="row">{letter(place)}</th>{"".join(cells)}</tr>')
    return _table(["", *HEADINGS], rows)


def class_table(comparison: Comparison) -> str:
    """A row per class; the later subjects' differences small below their figures."""
    label_set = comparison.label_set
    rows = []
    for name, color in zip(label_set.names, label_set.colors, strict=True):
        cells = []
        for one in comparison.subjects:
            difference = one.per_class_difference.get(name)
            text = "\n".join(filter(None, (percent(one.evaluation.per_class[name]), change(difference))))
            cells.append(_cell(text, small=_direction(difference)))
        rows.append(f'<tr><th scope="row">{_swatch(color)}{escape(name)}</th>{"".join(cells)}</tr>')
    return _table(["Class", *map(letter, range(len(comparison.subjects)))], rows)


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(text: str, kind: str = "", small: str = "") -> str:
    """A figure, and what is on a line below it; `kind` and `small` are their classes."""
    figure, _, below = escape(text.replace("-", MINUS)).partition("\n")
    figure = DASH if figure == MINUS else figure
    return f"<td{_class(kind)}>{figure}" + (f"<small{_class(small)}>{below}</small>" if below else "") + "</td>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _direction(difference: float | None) -> str:
    return "" if not difference else "up" if difference > 0 else "down"


def legend(label_set: LabelSet) -> str:
    """Class colours."""
    return _legend(list(zip(label_set.colors, label_set.names, strict=True)))


def _legend(items: Sequence[tuple[tuple[int, int, int], str]]) -> str:
    return f'<ul class="legend">{"".join(f"<li>{_swatch(color)}{escape(text)}</li>" for color, text in items)}</ul>'


def gallery(key: str, one: Compared) -> str:
    """The pictures of a later subject beside those of the first.

    Args:
        key: its letter.
        one: the subject.
    """
    colors = [
        (BETTER, f"{key} right, A wrong"),
        (WORSE, f"A right, {key} wrong"),
        (BOTH, "both right"),
        (NONE, "both wrong, or not labelled"),
    ]
    parts = [f"<h3>{key} against A: {escape(one.name)}</h3>", "<p>Who is right:</p>", _legend(colors)]
    if not one.gains and not one.losses:
        parts.append("<p>No image on which they differ.</p>")
    for what, examples in (("gains", one.gains), ("loses", one.losses)):
        parts += [_example(key, what, example) for example in examples]
    return "\n".join(parts)


def _example(key: str, what: str, example: Example) -> str:
    gain = f"{100 * abs(example.later - example.first):.2f}"
    name = escape(example.stem)
    wide = " wide" if example.pictures[0].width > WIDE * example.pictures[0].height else ""
    pictures = "".join(_figure(key, picture, example) for picture in example.pictures)
    return (
        f"<h4>{name}: {key} {what} {gain} ({percent(example.first)} to {percent(example.later)} mIoU)</h4>"
        f'<div class="strips{wide}" tabindex="0" role="group" aria-label="Pictures of {name}">{pictures}</div>'
    )


def _figure(key: str, picture: Picture, example: Example) -> str:
    text = {
        "photo": "Photo",
        "truth": "Truth",
        "first": f"A, <b>{percent(example.first)}</b> mIoU",
        "later": f"{key}, <b>{percent(example.later)}</b> mIoU",
        "difference": "Who is right",
    }[picture.kind]
    alt = {"first": "classes of A", "later": f"classes of {key}"}.get(picture.kind, text.lower())
    data = base64.b64encode(picture.jpeg).decode()
    return (
        f'<figure><figcaption><span>{text}</span></figcaption><img alt="{escape(example.stem)}: {alt}" '
        f'width="{picture.width}" height="{picture.height}" src="data:image/jpeg;base64,{data}"></figure>'
    )


def _swatch(color: tuple[int, int, int]) -> str:
    return f'<i class="swatch" style="background:rgb{color}"></i>'
