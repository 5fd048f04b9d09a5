"""The card of a trained assistant: what it was made from and how, under which licences, how good it is."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml

from goodsam import __version__
from goodsam.assistant_training.model import Trainee
from goodsam.assistant_training.options import AssistantTrainOptions
from goodsam.assistant_training.photos import Photos
from goodsam.assistant_training.start import Start
from goodsam.assistant_training.validation import HeldOut
from goodsam.card import LICENCE, shown, weights_table
from goodsam.progress import duration
from goodsam.weights import INHERITED, is_hub_id

_CARD = """---
{header}---
# {title}

A {kind} of {parameters:.1f} M parameters that labels ordinary photos, made by GoodSAM {version}. It learned from {seen}
labelled photos of `{data}`. As an assistant of GoodSAM it names what is in panoramas:

    goodsam distill PANORAMAS --out RUN --assistant {title}

## Classes

{number}, of the label set {label_set}, in the order of their ids: {classes}.

## Made by

    {command}

{start}
{time} on {device}, {steps} steps; the running average of the weights is what is stored, as {dtype}.

## Held out

{held_out}
"""


@dataclass(frozen=True)
class Made:
    """A training that has ended, or stopped at --until."""

    data: str
    """As --data gives it."""
    options: AssistantTrainOptions
    photos: Photos
    start: Start
    fingerprint: str
    steps: int
    seconds: float
    device: torch.device


def assistant_card(out: Path, trainee: Trainee, made: Made, found: HeldOut | None) -> str:
    """Model card in the Hub's format; arguments as of `write_assistant`."""
    label_set, options = made.photos.label_set, made.options
    return _CARD.format(
        header=_header(trainee, made),
        title=out.name,
        kind=trainee.config.model_type,
        parameters=sum(value.numel() for value in trainee.parameters()) / 1e6,
        version=__version__,
        seen=len(made.photos.seen),
        data=shown_data(made.data),
        number=len(label_set),
        label_set=label_set.name,
        classes=", ".join(label_set.names),
        command=command_of(made.data, out, options),
        start=_start(made),
        time=duration(made.seconds),
        device=made.device.type,
        steps=made.steps,
        dtype="float16" if options.half else "float32",
        held_out=_held_out(found),
    )


def _header(trainee: Trainee, made: Made) -> str:
    """What the Hub reads, YAML, and the licences that runs with this assistant record."""
    inherited = sorted({item.licence for item in made.start.weights})
    given = made.options.license
    value: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "image-segmentation",
        "tags": ["goodsam", "assistant", trainee.config.model_type],
        "license": given or ("other" if inherited else "unknown"),
    }
    if inherited:
        value |= {} if given else {"license_name": LICENCE}
        value[INHERITED] = sorted({*inherited, given} - {None})
    start = made.options.init
    if is_hub_id(start) and not Path(start).exists():
        value["base_model"] = start
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)


def command_of(data: str, out: Path, options: AssistantTrainOptions) -> str:
    """The command, without options at their defaults and those of the machine."""
    words = ["goodsam", "assistant", "train", "--data", shown_data(data), "--out", out.name]
    for item in fields(options):
        value, flag = getattr(options, item.name), f"--{item.name.replace('_', '-')}"
        if value == item.default or item.name in ("workers", "device", "checkpoint_every"):
            continue
        words += [flag] if value is True else [flag, shown(value) if item.name == "init" else str(value)]
    return shlex.join(words)


def _start(made: Made) -> str:
    if not made.start.weights:
        return f"from random weights of the shape {made.options.shape}."
    rows = [item.to_json() for item in made.start.weights]
    text = "What it may be used for depends on the licences of these weights too, and of the photos."
    return f"from these weights:\n\n{weights_table(rows)}\n\n{text}\n"


def _held_out(found: HeldOut | None) -> str:
    if found is None:
        return "No photos were held out, so that there is nothing to say of how it does on others."
    return (
        f"On {found.photos} photos that training did not see, in percent: {found.summary()}.\n"
        "They decided which step's weights were kept, which flatters it a little. Other cameras, places, seasons and\n"
        "the night may be worse: `goodsam evaluate` scores it on labels of one's own."
    )


def shown_data(data: str) -> str:
    """A `--data` string; folders of this machine by their last part alone."""
    kind, colon, where = data.partition(":")
    return f"{kind}{colon}{','.join(shown(part) for part in where.split(','))}"
