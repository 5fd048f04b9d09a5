"""One engine for one network and one shape of its input."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from goodsam.engines.kinds import openvino
from goodsam.errors import GoodSAMError, first_line
from goodsam.profiling import bytes_of

Engine = Callable[[Tensor], tuple[Tensor, ...]]
"""Of one shape: float32 (B, 3, h, w), normalised -> what the network gives, float32, on the same device."""

OPSET = 18
_LARGEST_ONNX = 2e9
"""Bytes of weights: the format ends a little above."""
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def build(module: nn.Module, pixels: Tensor, kind: str) -> Engine:
    """An engine that computes what a network does.

    Args:
        module: in evaluation mode itself and all in it, float32; takes one tensor and gives a tuple of tensors. It must
            have run once on this shape: what it keeps by then is a constant of the engine, not a part of it.
        pixels: (B, 3, h, w), an input of the one shape that the engine will take.
        kind: see `kinds`.
    Raises:
        GoodSAMError: the engine has no way to compute one of the network's operations, or cannot hold it.
    """
    engine, _, half = kind.partition("-")
    if engine == "torch":
        return _torch(module, _HALF.get(half))
    try:
        with _quiet(), torch.no_grad():
            return _onnx(module, pixels) if engine == "onnx" else _openvino(module, pixels, half or "f32")
    except GoodSAMError:
        raise
    except Exception as error:  # each engine raises kinds of its own for each way to fail
        raise GoodSAMError(
            f"--engine {kind}: cannot be built for this network ({first_line(error)}); give --engine torch."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's warnings: Python's numbers are constants, which for one shape they may be.

    It also looks at every property of a model, of which some make transformers warn.
    """
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _torch(module: nn.Module, half: torch.dtype | None) -> Engine:
    """PyTorch itself. Not in inference mode: adaptation may use the results."""

    def run(pixels: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad(), torch.autocast(pixels.device.type, half, enabled=half is not None):
            return tuple(output.float() for output in module(pixels))

    return run


def _onnx(module: nn.Module, pixels: Tensor) -> Engine:
    import onnxruntime

    if bytes_of(module) > _LARGEST_ONNX:
        raise GoodSAMError(
            f"--engine onnx: the network has {bytes_of(module) / 1e9:.1f} GB of weights, an ONNX file holds 2; give "
            "--engine openvino or torch."
        )
    file = io.BytesIO()
    # The exporter that traces: it needs no onnxscript, for one shape nothing is lost, and it writes into memory too.
    torch.onnx.export(
        module,
        (pixels,),
        file,  # type: ignore[arg-type]
        opset_version=OPSET,
        input_names=["pixels"],
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # failures come as exceptions, told in our own words
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])

    def run(pixels: Tensor) -> tuple[Tensor, ...]:
        return _tensors(session.run(None, {"pixels": pixels.contiguous().numpy()}))

    return run


def _openvino(module: nn.Module, pixels: Tensor, precision: str) -> Engine:
    """From the traced network, not from an ONNX file, so that weights are not held twice and may exceed 2 GB."""
    package = openvino()
    graph = package.convert_model(torch.jit.trace(module, (pixels,), check_trace=False), example_input=(pixels,))
    graph.reshape({graph.inputs[0]: list(pixels.shape)})
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    request = package.Core().compile_model(graph, "CPU", settings).create_infer_request()

    def run(pixels: Tensor) -> tuple[Tensor, ...]:
        # Inputs are read where they are; outputs are copied, since the next call writes over them.
        return _tensors(list(request.infer([pixels.contiguous().numpy()], share_inputs=True).values()))

    return run


def _tensors(arrays: list[Any]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.asarray(array, dtype=np.float32)) for array in arrays)
