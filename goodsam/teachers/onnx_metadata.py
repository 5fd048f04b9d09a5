"""What an ONNX file tells of itself: the names of its classes, and how it wants its pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from goodsam.errors import GoodSAMError
from goodsam.teachers.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation
from goodsam.teachers.onnx_graph import Graph

_NORMALISING = {"Sub", "Add", "Mul", "Div", "BatchNormalization"}


def class_names(path: Path, metadata: dict[str, str]) -> tuple[str, ...] | None:
    """Names of the classes by the key `classes`, in the order of the outputs; None without it.

    Raises:
        GoodSAMError: it is not a JSON list.
    """
    if "classes" not in metadata:
        return None
    names = _metadata_json(path, metadata, "classes")
    if not isinstance(names, list):
        raise GoodSAMError(f"{path}: metadata `classes` must be a JSON list of names, in the order of the outputs.")
    return tuple(map(str, names))


def _metadata_json(path: Path, metadata: dict[str, str], key: str) -> Any:
    try:
        return json.loads(metadata[key])
    except ValueError as error:
        raise GoodSAMError(f"{path}: metadata `{key}` is {metadata[key]!r}, which is not JSON ({error}).") from error


def choose_normalisation(
    path: Path, metadata: dict[str, str], dtype: type, graph: Graph, image: str
) -> tuple[Normalisation, str]:
    """What the metadata says, else what dtype and the graph's first arithmetic show, else ImageNet's.

    Decided from the file alone, never from the pictures, so that equal files treat all pictures alike.

    Args:
        path: of the file, for errors.
        metadata: its own keys and values.
        dtype: numpy type of its image input.
        graph: what was read of its graph.
        image: name of its image input.
    Returns:
        The normalisation, and why this one, for the log.
    Raises:
        GoodSAMError: metadata that cannot be meant.
    """
    none, unit = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if any(key in metadata for key in ("scale", "mean", "std")):
        return _normalisation_of_metadata(path, metadata, 255.0 if dtype is np.uint8 else 1.0)
    if dtype is np.uint8:
        return Normalisation(255.0, none, unit), "pixels 0..255 (uint8)"
    step = graph.first_arithmetic(image)
    if step is not None and step[0] in _NORMALISING:
        operation, constants = step
        white = 255.0 if _meant_for_bytes(operation, constants) else 1.0
        reason = f"pixels 0..{white:g} (the graph normalises, its first step is {operation})"
        return Normalisation(white, none, unit), reason
    reason = "pixels 0..1 less ImageNet mean, over std (no normalisation in the graph; metadata `scale` says otherwise)"
    return Normalisation(1.0, IMAGENET_MEAN, IMAGENET_STD), reason


def _normalisation_of_metadata(path: Path, metadata: dict[str, str], default_white: float) -> tuple[Normalisation, str]:
    values: dict[str, tuple[float, ...]] = {}
    for key, default in (("scale", [default_white]), ("mean", [0.0] * 3), ("std", [1.0] * 3)):
        found = _metadata_json(path, metadata, key) if key in metadata else default
        found = found if isinstance(found, list) else [found]
        numbers = all(isinstance(value, int | float) for value in found)
        if not numbers or len(found) != len(default) or (key != "mean" and min(found) <= 0):
            wanted = "1 or 255" if key == "scale" else "a JSON list of 3 numbers" + (" above 0" if key == "std" else "")
            raise GoodSAMError(f"{path}: metadata `{key}` is {metadata[key]!r}; it must be {wanted}.")
        values[key] = tuple(map(float, found))
    white = values["scale"][0]
    reason = f"pixels 0..{white:g} less {list(values['mean'])}, over {list(values['std'])} (by its metadata)"
    return Normalisation(white, values["mean"], values["std"]), reason


def _meant_for_bytes(operation: str, constants: np.ndarray) -> bool:
    """Whether a first step's constants make sense for pixels in 0..255 alone: mean 123.7, division by 255, ..."""
    if not constants.size:
        return False
    largest = float(np.abs(constants).max())
    if operation == "Mul":
        return largest < 0.1  # 1/255 = 0.004, 1/58 = 0.017; 1/0.225 = 4.4
    return largest > 20  # mean 123.7 or 127.5, division by 255; in 0..1 the values stay below 5
