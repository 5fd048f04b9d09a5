"""The README of a student: what it was made from, under which licences, and how to use it."""

import yaml

from goodsam import __version__
from goodsam.labels import LabelSet
from goodsam.run import Run


def student_card(run: Run, label_set: LabelSet, size: tuple[int, int]) -> str:
    """Model card in the Hub's format.

    Args:
        run: whose `run.yaml` lists the options and weights that took part.
        label_set: the student's classes.
        size: (H, W) at which it was trained, pixels.
    """
    about = yaml.safe_load((run.root / "run.yaml").read_text())
    used, options = about["weights"], about["options"]
    columns = ("id", "file", "licence", "sha256")
    rows = [columns, ("---",) * 4, *(tuple(item[name] for name in columns) for item in used)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"""---
library_name: transformers
pipeline_tag: image-segmentation
tags: [goodsam, panorama, 360, segformer]
---
# Student {options["student"]}, made by GoodSAM {__version__}

Labels every pixel of 360-degree panoramas with {len(label_set)} classes ({label_set.name}):
{", ".join(label_set.names)}.

It was distilled without labels, from panoramas resized to {size[0]}x{size[1]} pixels, with the teacher
`{options["sam"]}` and the assistant `{options["assistant"]}`, {options["steps"]} steps of
{options["batch_size"]}.

## Use

    import goodsam
    labels = goodsam.load("RUN/student").predict("panorama.jpg").labels

Plain transformers loads it too (`AutoModelForSemanticSegmentation`), and differs only near the left and right
edge, where GoodSAM's convolutions wrap.

## Weights that took part

{table}

What a student may be used for depends on the licences of the weights and the photos that it was made from.
"""
