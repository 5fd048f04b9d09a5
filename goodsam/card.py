"""The README of a student: what it was made from, under which licences, how good it is, and how to use it."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from goodsam import __version__, files
from goodsam.labels import LabelSet
from goodsam.run import Run
from goodsam.weights import INHERITED, is_hub_id

log = logging.getLogger(__name__)

LICENCE = "inherited-from-weights"
"""The Hub wants a name without spaces for a licence that is none of its own list."""
MEASURED = "### Against labels"
"""Heading of the part of a card that `refresh_measured` writes anew."""
_NOT_MEASURED = "Not measured yet: `goodsam evaluate` scores a student against labels of one's own."
_TOTALS = {
    "miou": "mIoU",
    "miou_sphere": "mIoU by solid angle",
    "seam_miou": "mIoU near the seam",
    "pixel_accuracy": "pixel accuracy",
    "boundary_f1": "boundary F1",
    "coverage": "coverage",
}
"""Keys of metrics.json that a card shows, all shares 0..1 or null."""
_CARD = """---
{header}---
# Student {student}, made by GoodSAM {version}

Labels every pixel of 360-degree panoramas. It was distilled {taught}: the teacher `{sam}` said where things are,
the assistant `{assistant}` named them, and the student, starting from `{init}`, learned from both fused in {steps}
steps of {batch_size} panoramas.

## Classes

{number}, of the label set {label_set}, in the order of their ids: {classes}.

## Data

{data}

## Weights that took part, and their licences

{weights}

What a student may be used for depends on the licences of these weights, of the data they were trained on, and of the
panoramas. Where one of them is unknown or for non-commercial use only, so is the student.

## Metrics

{agreement}

{measured}

## Intended use and limits

For panoramas like those it was trained on: label maps, shares of classes, and overlays for people to look at.

- {drawn}: what the assistant confuses or has no class for, the student does too. Its classes are
  the assistant's, or made from them.
- Agreement with labels of the ensemble is not accuracy. On other cameras, places, seasons and at night it may be worse.
- Its confidence is not calibrated.
- Not for decisions on which somebody's safety depends, unless it was evaluated for them on labels of one's own.

## Use

STUDENT is this folder, or its OWNER/NAME on the Hugging Face hub.

    goodsam predict STUDENT PHOTOS --out LABELS

or in Python

    import goodsam
    labels = goodsam.load("STUDENT").predict("panorama.jpg").labels

Plain transformers loads it too (`AutoModelForSemanticSegmentation`), and differs only near the left and right
edge, where GoodSAM's convolutions wrap.

## Evaluate

With labels of some panoramas (uint8 ids, 255 ignored, same file names; LABELSET is one of GoodSAM's or a YAML file):

    goodsam evaluate student:STUDENT --data folder:IMAGES,LABELS,LABELSET
"""


def student_card(
    run: Run,
    label_set: LabelSet,
    size: tuple[int, int],
    agreement: dict[str, float] | None = None,
    vfov: float | None = None,
) -> str:
    """Model card in the Hub's format. Folders of this machine are named by their last part alone.

    A `RUN/metrics.json` that is there before the student is of an earlier one: figures come in when it is pushed.

    Args:
        run: whose `run.yaml` lists the options and weights that took part.
        label_set: the student's classes.
        size: (H, W) at which it was trained, pixels.
        agreement: of the student with the ensemble's labels of the panoramas that were held back: "miou" and
            "pixel_accuracy", shares 0..1, and "panoramas", a count; None where none were.
        vfov: vertical field of view of the panoramas, degrees; None for what the options say.
    """
    about = yaml.safe_load((run.root / "run.yaml").read_text())
    used, options = about["weights"], about["options"]
    names = {name: shown(str(options[name])) for name in ("sam", "assistant", "init")}
    return _CARD.format(
        header=_header(used, options),
        version=__version__,
        **{name: options[name] for name in ("student", "steps", "batch_size")},
        **names,
        number=len(label_set),
        label_set=label_set.name,
        classes=", ".join(label_set.names),
        **_drawn(run),
        data=_data(run, options, size, agreement, vfov),
        weights=weights_table(used),
        agreement=_agreement(agreement),
        measured=f"{MEASURED}\n\n{_NOT_MEASURED}",
    )


def _header(used: list[dict[str, str]], options: dict[str, Any]) -> str:
    """What the Hub reads, YAML."""
    value: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "image-segmentation",
        "tags": ["goodsam", "panorama", "360", "segformer"],
        "license": "other",
        "license_name": LICENCE,
        INHERITED: sorted({item["licence"] for item in used}),
    }
    start = str(options["init"])
    if is_hub_id(start) and not Path(start).exists():
        value["base_model"] = start
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


def _drawn(run: Run) -> dict[str, str]:
    """Whether anybody drew labels for this training, in two sentences of the card."""
    corrected = len(run.record("train")["made_with"].get("corrections", {}))
    if not corrected:
        return {"taught": "without labels", "drawn": "Nobody drew a label for it"}
    return {
        "taught": f"without labels but for {corrected} panoramas that a person corrected",
        "drawn": f"But for {corrected} corrected panoramas nobody drew a label for it",
    }


def _data(
    run: Run,
    options: dict[str, Any],
    size: tuple[int, int],
    agreement: dict[str, float] | None,
    vfov: float | None,
) -> str:
    left_out = sum("left_out" in entry for entry in run.inputs().values())
    number = len(run.record("train")["made_with"]["panoramas"])  # of this training, a run may hold more
    degrees = options.get("vfov") if vfov is None else vfov
    span = "360 * height / width degrees (square pixels)" if degrees is None else f"{degrees:.1f} degrees"
    held_back = f" {int(agreement['panoramas'])} of them were held back from training." if agreement else ""
    return (
        f"{number} unlabelled panoramas, {left_out} more left out since they could not be used.{held_back} They span\n"
        f"{span} of pitch; the student sees them at {size[0]}x{size[1]} pixels (height x width)."
    )


def weights_table(used: Sequence[Mapping[str, str]]) -> str:
    """Weight files as rows of a card: id, file, licence and sha256 of each, as `run.yaml` has them."""
    columns = ("id", "file", "licence", "sha256")
    found = [tuple(_cell(shown(item[name]) if name == "id" else item[name]) for name in columns) for item in used]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ("---",) * len(columns), *found])


def _agreement(agreement: dict[str, float] | None) -> str:
    if agreement is None:
        return "No panoramas were held back from training, so that there is nothing to say of how it does on others."
    return (
        f"On {int(agreement['panoramas'])} panoramas that were held back from training, its labels agree with those of "
        f"the ensemble to\n{100 * agreement['miou']:.1f} % mIoU and {100 * agreement['pixel_accuracy']:.1f} % of "
        "pixels. This says how well the student learned what it was taught, not\nhow often that is right: nobody has "
        "labelled these panoramas, and they may have decided which step's weights were\nkept."
    )


def shown(name: str) -> str:
    """The name of a model or folder as others may read it: of a path on this machine the last part alone."""
    path = Path(name)
    return path.resolve().name if path.is_absolute() or path.exists() else name


def _cell(text: str) -> str:
    """Text that does not end the cell of a table; licences come from other people's cards."""
    return " ".join(text.split()).replace("|", "\\|")


# -- figures against labels -------------------------------------------------------------------------------------------


def refresh_measured(student: Path) -> None:
    """Put what `goodsam evaluate` found of a student in a run, `RUN/metrics.json`, into its card.

    Args:
        student: `RUN/student`, with a README.md. Nothing changes where there is no evaluation of it.
    Raises:
        GoodSAMError: a metrics.json that cannot be read, or a card that cannot be written.
    """
    found = measured(student)
    if found is None:
        return
    card = student / "README.md"
    files.write_text(card, with_measured(card.read_text(), found))


def measured(student: Path) -> dict[str, Any] | None:
    """`metrics.json` beside a student where it is of this student and of these weights; else None."""
    path = student.resolve().parent / "metrics.json"
    if not path.is_file():
        return None
    found = files.read_json(path)
    kind, _, where = str(found.get("subject")).partition(":")
    if kind != "student" or not _is_same(Path(where), student.resolve()):
        return None
    known = found.get("weights")
    if known is not None and files.sha256_of(student / "model.safetensors") not in known:
        log.warning("%s: is about other weights, so it is not shown in the student's card; evaluate it again.", path)
        return None
    if known is None and path.stat().st_mtime < (student / "model.safetensors").stat().st_mtime:  # an older file
        log.warning("%s: older than the student, so it is not shown in its card; evaluate the student again.", path)
        return None
    return found


def _is_same(named: Path, student: Path) -> bool:
    """Whether a path that was perhaps given in another working folder may be that of the student."""
    if named.is_absolute():
        return named.resolve() == student
    parts = tuple(part for part in named.parts if part != "..")
    return named.resolve() == student or (bool(parts) and student.parts[-len(parts) :] == parts)


def with_measured(card: str, metrics: dict[str, Any]) -> str:
    """A card with the figures of an evaluation in the place of what it says of that; at its end if it says nothing.

    Args:
        card: text of a README.md.
        metrics: as in metrics.json.
    """
    kind, _, where = metrics["data"].partition(":")
    data = f"{kind}:{','.join(shown(part) for part in where.split(','))}"
    rows = [f"| {name} | {_percent(metrics[key])} |" for key, name in _TOTALS.items() if metrics[key] is not None]
    classes = ", ".join(f"{name} {_percent(value)}" for name, value in metrics["per_class"].items())
    lines = [
        f"On `{data}`, {metrics['images']} images, label set {metrics['label_set']}, in percent:",
        "\n".join(["| | |", "|---|---|", *rows]),
        f"IoU by class: {classes}.",
    ]
    part = "\n\n".join([MEASURED, *lines]) + "\n"
    pattern = re.compile(rf"^{MEASURED}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    if pattern.search(card) is None:
        return f"{card.rstrip()}\n\n{part}"
    return pattern.sub(lambda _: f"{part}\n", card, count=1).rstrip() + "\n"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
