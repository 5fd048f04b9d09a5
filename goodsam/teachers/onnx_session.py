"""Opening an ONNX file, and finding which input takes the image and which output gives the logits."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from goodsam.errors import GoodSAMError, first_line

try:
    import onnxruntime
except ImportError:  # an optional extra
    onnxruntime = None

log = logging.getLogger(__name__)

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
"""Types that the image may have, by onnxruntime's names."""
_LOGIT_NAMES = ("logits", "output", "out")


def open_session(path: Path, device: torch.device) -> Any:
    """onnxruntime's session of a file, on the GPU where `device` is one and onnxruntime can.

    Raises:
        GoodSAMError: onnxruntime is missing, there is no such file, or it is not ONNX.
    """
    if onnxruntime is None:
        raise GoodSAMError(f"--assistant {path}: ONNX files need onnxruntime; `pip install goodsam[onnx]`.")
    if not path.is_file():
        raise GoodSAMError(f"--assistant {path}: no such file; give the path of an .onnx file.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # failures come as exceptions, told in our own words
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    if wanted and not providers:
        log.info("%s: runs on the CPU; onnxruntime-gpu would run it on the GPU.", path)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a kind of its own for each way to fail
        raise GoodSAMError(
            f"--assistant {path}: cannot be opened as an ONNX model ({first_line(error)}); "
            "export it again, with its weights inside or beside it."
        ) from error


def image_input(path: Path, inputs: list[Any]) -> Any:
    """The one input, 4-D and of one of `DTYPES`.

    Raises:
        GoodSAMError: there are more, or it is no image.
    """
    described = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs) or "none"
    good = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].type in DTYPES
    if not good:
        raise GoodSAMError(
            f"--assistant {path}: its inputs are {described}; a segmenter has one, an RGB image of float32, float16 or "
            "uint8 with shape N x 3 x H x W or N x H x W x 3."
        )
    return inputs[0]


def channels_first(path: Path, shape: list[Any]) -> bool:
    """Whether an input of this shape, integers or names of free sizes, is NCHW; else it is NHWC.

    Raises:
        GoodSAMError: neither has 3 channels.
    """
    if shape[1] == 3 or (not isinstance(shape[1], int) and shape[3] != 3):
        return True
    if shape[3] == 3:
        return False
    raise GoodSAMError(
        f"--assistant {path}: its input has shape {shape}; an RGB image has 3 channels, N x 3 x H x W or N x H x W x 3."
    )


def logits_output(path: Path, outputs: list[Any]) -> Any:
    """The 4-D float output: by a usual name, else the one with the most channels.

    Raises:
        GoodSAMError: there is none.
    """
    found = [value for value in outputs if len(value.shape) == 4 and value.type in ("tensor(float)", "tensor(float16)")]
    if not found:
        described = ", ".join(f"{value.name} {value.type} {value.shape}" for value in outputs)
        labels = any("int" in value.type for value in outputs)
        raise GoodSAMError(
            f"--assistant {path}: its outputs are {described}; "
            + ("class ids alone carry no confidence: " if labels else "")
            + "export the model so that it gives logits, float N x CLASSES x H x W, before any arg max."
        )
    named = [value for name in _LOGIT_NAMES for value in found if value.name.lower() == name]
    chosen = named[0] if named else max(found, key=lambda value: _size_or_zero(value.shape[1]))
    if len(outputs) > 1:
        log.info("%s: of outputs %s takes %s.", path, ", ".join(value.name for value in outputs), chosen.name)
    return chosen


def _size_or_zero(value: Any) -> int:
    return value if isinstance(value, int) else 0
