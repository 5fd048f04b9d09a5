"""GoodSAM: from a folder of unlabelled 360-degree panoramas to a small model that labels their every pixel."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from goodsam.metrics import Evaluation
    from goodsam.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["distill", "evaluate", "load", "predict"]


def distill(panoramas: str | Path, *, out: str | Path, **options: Any) -> "Predictor":
    """Turn a folder of unlabelled panoramas into a student; the same call on the same `out` resumes.

    Args:
        panoramas: a folder of panoramas, or one.
        out: the run folder.
        options: as on the command line, with underscores: `sam="regions"`, `steps=2000`; see `goodsam.config`.
    Returns:
        the student, ready to predict.
    Raises:
        goodsam.errors.GoodSAMError: what is wrong, and what would be right.
    """
    from goodsam import config, pipeline, predictor

    run = pipeline.distill(Path(panoramas), Path(out), config.run_options(**options))
    return predictor.load(run.student, options.get("device", "auto"))


def load(student: str | Path, device: str = "auto") -> "Predictor":
    """A student to predict with: `load("RUN/student").predict("panorama.jpg").labels`."""
    from goodsam import predictor

    return predictor.load(student, device)


def predict(student: str | Path, inputs: "Iterable[str | Path]", *, out: str | Path, **options: Any) -> int:
    """Label images and folders of images into `out`, as `goodsam predict` does; returns how many were labelled.

    Args:
        student: a `RUN/student` folder.
        inputs: images and folders.
        out: folder for label maps, overlays and shares.csv.
        options: of `goodsam.predictor.predict_files`, and `device`.
    """
    from goodsam import predictor

    loaded = predictor.load(student, options.pop("device", "auto"))
    return predictor.predict_files(loaded, [Path(item) for item in inputs], Path(out), **options)


def evaluate(subject: str, data: str, **options: Any) -> "Evaluation":
    """Score a SUBJECT on DATA.

    Args:
        subject: `student:DIR`, `assistant:ID` or `labels:DIR`.
        data: `folder:IMAGES,LABELS[,LABELSET]` or `streetworld:ROOT`.
        options: of `goodsam.evaluation.evaluate`.
    """
    from goodsam import evaluation

    return evaluation.evaluate(subject, data, **options)
