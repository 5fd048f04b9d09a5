"""The report as one HTML file: no scripts, nothing from elsewhere."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from goodsam import __version__
from goodsam.demo.options import LABEL_SET, DemoOptions
from goodsam.demo.scores import Subject
from goodsam.labels import LABEL_SETS
from goodsam.progress import duration

NOTHING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
FIGURES = (("miou", "mIoU"), ("boundary_f1", "boundary F1"), ("seam_miou", "seam mIoU"))
"""What the table of steps shows: key in metrics.json, name."""
CLASS_COLUMNS = ("start", "assistant_views", "ensemble", "student")
"""Steps whose classes are shown one by one."""
NEXT = (
    ("A student for your own panoramas, with SAM and SegFormer from the Hugging Face hub:",
     "goodsam distill PHOTOS --out RUN"),
    ("The same without SAM's weights, on a laptop, with any ONNX segmenter as assistant:",
     "goodsam distill PHOTOS --out RUN --sam regions --assistant segmenter.onnx --student t --init random "
     "--steps 2000 --train-size 200x1024"),
    ("Label new panoramas with it:", "goodsam predict RUN/student NEW_PHOTOS --out LABELS"),
    ("Score it, if you have labels for some:", "goodsam evaluate student:RUN/student --data folder:IMAGES,LABELS"),
)  # fmt: skip
"""What to do on one's own photos: why, and the command as in the README."""


@dataclass(frozen=True)
class Row:
    """What one thing took."""

    name: str
    seconds: float
    items: int
    unit: str
    """What the items are."""


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it."""

    key: str
    name: str
    alt: str
    jpeg: bytes
    width: int
    height: int
    """Pixels."""
    miou: float | None
    """Of the strip, 0..1; None where it says nothing."""


@dataclass(frozen=True)
class Panorama:
    """A test strip and what every step makes of it."""

    stem: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Content:
    """Everything that the page shows."""

    options: DemoOptions
    subjects: Sequence[Subject]
    metrics: dict[str, dict[str, Any]]
    panoramas: list[Panorama]
    times: list[Row]
    weights: list[dict[str, str]]
    curve: str
    """SVG."""
    mark: str
    """Goes into the head."""


def percent(value: float | None) -> str:
    """0.4567 -> "45.7"; a dash where there is no figure."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def change(value: float | None, start: float | None) -> str:
    """The difference of two figures as they are shown, with its sign: 45.7 and 40.0 -> "+5.7"."""
    if value is None or start is None:
        return ""
    difference = round(float(percent(value)) - float(percent(start)), 1)
    return f"{difference:+.1f}".replace("-", MINUS) if difference else "\N{PLUS-MINUS SIGN}0.0"


def html_of(content: Content) -> str:
    """The whole page."""
    template = Template((Path(__file__).parent / "report.html").read_text())
    options = content.options
    classes = LABEL_SETS[LABEL_SET].names
    return template.substitute(
        mark=content.mark,
        version=escape(__version__),
        unlabelled=options.unlabelled,
        test=options.test,
        size=f"{options.size[1]}x{options.size[0]}",
        teacher=escape(options.sam),
        assistant=escape(options.assistant),
        class_count=len(classes),
        classes=escape(", ".join(classes)),
        hero=hero(content),
        steps=step_table(content),
        legend=legend(),
        panoramas="\n".join(panorama(item) for item in content.panoramas),
        shown=len(content.panoramas),
        per_class=class_table(content),
        training=f"{options.steps} steps of {options.batch_size} panoramas at {escape(options.train_size)} pixels",
        curve=content.curve,
        times=time_table(content.times),
        weights=weight_table(content.weights),
        next=next_commands(),
    )


def hero(content: Content) -> str:
    """Two figures that say it in short: the student before and after."""
    before, after = (content.metrics[key]["miou"] for key in ("start", "student"))
    return (
        f'<p class="hero"><span><b>{percent(before)}</b> mIoU before</span><span aria-hidden="true">→</span>'
        f"<span><b>{percent(after)}</b> mIoU after</span></p>"
    )


def step_table(content: Content) -> str:
    """Steps down, figures across, each with its change against the student's start."""
    head = "".join(f'<th scope="col">{name}</th>' for _, name in FIGURES)
    start = content.metrics["start"]
    rows = []
    for subject in content.subjects:
        cells = []
        for key, _ in FIGURES:
            value = content.metrics[subject.key][key]
            against = "" if subject.key == "start" else change(value, start[key])
            cells.append(
                f'<td class="number" style="--share:{percent(value or 0.0)}%">'
                f'<data data-figure="{subject.key}.{key}">{percent(value)}</data>{_change(against)}</td>'
            )
        about = f"<small>{escape(subject.about)}</small>"
        rows.append(f'<tr><th scope="row">{escape(subject.name)}{about}</th>{"".join(cells)}</tr>')
    return f'<table class="steps"><thead><tr><th scope="col">Step</th>{head}</tr></thead>{_body(rows)}</table>'


def class_table(content: Content) -> str:
    """Intersection over union class by class."""
    names = {subject.key: subject.name for subject in content.subjects}
    head = "".join(f'<th scope="col">{escape(names[key])}</th>' for key in CLASS_COLUMNS)
    pixels = np.array(content.metrics["student"]["confusion"]).sum(1)
    shares = pixels / max(pixels.sum(), 1)
    rows = []
    label_set = LABEL_SETS[LABEL_SET]
    for index, (name, color) in enumerate(zip(label_set.names, label_set.colors, strict=True)):
        values = {key: content.metrics[key]["per_class"][name] for key in CLASS_COLUMNS}
        cells = "".join(
            f'<td class="number"><data data-figure="{key}.per_class.{name}">{percent(value)}</data>'
            f"{_change('' if key == 'start' else change(value, values['start']))}</td>"
            for key, value in values.items()
        )
        share = f'<td class="number">{percent(float(shares[index]))} %</td>'
        rows.append(f'<tr><th scope="row">{_swatch(color)}{escape(name)}</th>{share}{cells}</tr>')
    columns = '<th scope="col">Class</th><th scope="col">share of pixels</th>'
    return f'<table class="classes"><thead><tr>{columns}{head}</tr></thead>{_body(rows)}</table>'


def legend() -> str:
    """Class colours, and what black is."""
    label_set = LABEL_SETS[LABEL_SET]
    items = [
        f"<li>{_swatch(color)}{escape(name)}</li>"
        for name, color in zip(label_set.names, label_set.colors, strict=True)
    ]
    items.append(f"<li>{_swatch((0, 0, 0))}the camera's own car (255): not labelled, not scored</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def panorama(item: Panorama) -> str:
    """All pictures of one strip below each other; on a narrow screen they scroll together."""
    figures = "".join(_figure(picture) for picture in item.pictures)
    return (
        f"<h3>Test panorama {escape(item.stem)}</h3>"
        f'<div class="strips" tabindex="0" role="group" aria-label="Pictures of test panorama {escape(item.stem)}">'
        f"{figures}</div>"
    )


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.jpeg).decode()
    score = "" if picture.miou is None else f" <b>{percent(picture.miou)}</b> mIoU"
    return (
        f'<figure><figcaption><span>{escape(picture.name)}{score}</span></figcaption><img alt="{escape(picture.alt)}" '
        f'width="{picture.width}" height="{picture.height}" src="data:image/jpeg;base64,{data}"></figure>'
    )


def time_table(rows: Sequence[Row]) -> str:
    """Seconds by step, and their sum."""
    lines = [
        f'<tr><th scope="row">{escape(row.name)}</th><td class="number">{row.items} {escape(row.unit)}</td>'
        f'<td class="number">{duration(row.seconds)}</td></tr>'
        for row in rows
    ]
    total = duration(sum(row.seconds for row in rows))
    lines.append(f'<tr class="total"><th scope="row">All</th><td></td><td class="number">{total}</td></tr>')
    head = '<tr><th scope="col">Step</th><th scope="col">Done</th><th scope="col">Time</th></tr>'
    return f"<table><thead>{head}</thead>{_body(lines)}</table>"


def weight_table(weights: Sequence[dict[str, str]]) -> str:
    """Models that took part, with their licences."""
    rows = [
        f'<tr><th scope="row">{escape(item["role"])}</th><td>{escape(item["id"])}</td><td>{escape(item["file"])}</td>'
        f"<td>{escape(item['licence'])}</td><td><code>{escape(item['sha256'][:12])}</code></td></tr>"
        for item in weights
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Role", "Model", "File", "Licence", "SHA-256"))
    return f"<table><thead><tr>{head}</tr></thead>{_body(rows)}</table>"


def next_commands() -> str:
    """What to run next."""
    return "\n".join(f"<p>{escape(why)}</p><pre><code>{escape(command)}</code></pre>" for why, command in NEXT)


def _body(rows: Sequence[str]) -> str:
    return f"<tbody>{''.join(rows)}</tbody>"


def _change(text: str) -> str:
    if not text:
        return ""
    kind = {"+": "up", MINUS: "down"}.get(text[0], "same")
    return f' <small class="{kind}">{text}</small>'


def _swatch(color: tuple[int, int, int]) -> str:
    return f'<i class="swatch" style="background:rgb{color}"></i>'
