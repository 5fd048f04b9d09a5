"""GoodSAM: from a folder of unlabelled 360-degree panoramas to a small model that labels their every pixel."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from goodsam.metrics import Evaluation
    from goodsam.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["distill", "evaluate", "load", "predict", "push"]


def distill(panoramas: str | Path, *, out: str | Path, **options: Any) -> "Predictor":
    """Turn a folder of unlabelled panoramas into a student; the same call on the same `out` resumes.

    Args:
        panoramas: a folder of panoramas, one, or a data set such as `wildpass:ROOT`.
        out: the run folder.
        options: as on the command line, with underscores: `sam="regions"`, `steps=2000`; see `goodsam.config`.
    Returns:
        the student, ready to predict.
    Raises:
        goodsam.errors.GoodSAMError: what is wrong, and what would be right.
    """
    from goodsam import config, pipeline, predictor

    run = pipeline.distill(panoramas, Path(out), config.run_options(**options))
    return predictor.load(run.student, options.get("device", "auto"))


def load(student: str | Path, device: str = "auto") -> "Predictor":
    """A student to predict with: `load("RUN/student").predict("panorama.jpg").labels`.

    Args:
        student: a `RUN/student` folder, or OWNER/NAME on the Hugging Face hub.
        device: "auto", "cpu", "cuda" or "mps".
    """
    from goodsam import predictor

    return predictor.load(student, device)


def predict(student: str | Path, inputs: "Iterable[str | Path]", *, out: str | Path, **options: Any) -> int:
    """Label images and folders of images into `out`, as `goodsam predict` does; returns how many were labelled.

    Args:
        student: a `RUN/student` folder, or OWNER/NAME on the Hugging Face hub.
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
        data: `folder:IMAGES,LABELS[,LABELSET]`, `densepass:ROOT` or another kind of `goodsam.datasets.KINDS`.
        options: of `goodsam.evaluation.evaluate`.
    """
    from goodsam import evaluation

    return evaluation.evaluate(subject, data, **options)


def push(student: str | Path, repo_id: str, *, private: bool = False, message: str | None = None) -> str:
    """Share a student on the Hugging Face hub, as `goodsam push` does; returns the address of its page.

    Args:
        student: a `RUN/student` folder.
        repo_id: OWNER/NAME; `load("OWNER/NAME")` then gets it anywhere.
        private: only you, or the organisation that OWNER is, can see it.
        message: of the commit.
    """
    from goodsam import hub

    return hub.push(Path(student), repo_id, private=private, message=message)
