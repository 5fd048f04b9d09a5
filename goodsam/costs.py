"""How many arithmetic operations labelling one image takes, whatever the machine: a product and a sum are two.

Counted are products of matrices, convolutions and attention, as is usual, not normalisation, activation and resizing.
"""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from goodsam.errors import first_line
from goodsam.profiling import counting
from goodsam.subjects import Image, Subject

try:
    import onnx
    import onnx.inliner
    import onnxruntime
except ImportError:  # optional; a file runs without the first
    onnx = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_PLAIN = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "Gemm": 1}
"""Kinds of node whose every output value is one sum of products -> the place of the second factor in their inputs."""
_TRANSPOSED = "ConvTranspose"
_UNKNOWN = {"Attention", "Einsum", "FusedConv", "FusedMatMul", "GRU", "GroupQueryAttention", "If", "LSTM", "Loop"}
_UNKNOWN |= {"MatMulNBits", "MultiHeadAttention", "RNN", "Scan"}
"""Kinds that do much arithmetic which is not counted: a number without it would mislead."""


def operations(subject: Subject, stem: str, image: Image | None) -> int | None:
    """Operations of one image: of the network as often as it runs, over all views and scales.

    Args:
        subject: a network; it is asked once.
        stem, image: as its `predict` takes them.
    Returns:
        None where an ONNX file's cannot be known; the log says why.
    """
    before = Counter(subject.onnx.runs) if subject.onnx is not None else Counter()
    with counting() as counter:
        subject.predict(stem, image)
    total = counter.get_total_flops()
    if subject.onnx is None:
        return total
    runs = Counter(subject.onnx.runs) - before
    each = {size: onnx_operations(subject.onnx.path, size) for size in runs}
    known = [times * each[size] for size, times in runs.items() if each[size] is not None]  # type: ignore[operator]
    return total + sum(known) if len(known) == len(runs) else None


def onnx_operations(path: Path, size: tuple[int, ...]) -> int | None:
    """Operations of one run of an ONNX file.

    Args:
        path: of the file, of one input.
        size: the input's shape, such as (1, 3, H, W).
    Returns:
        None without the `onnx` package, or where the file does arithmetic of another kind.
    """
    if onnx is None:
        log.info("%s: its operations are not counted; that takes the package onnx, `pip install onnx`.", path)
        return None
    try:
        model = onnx.load(str(path), load_external_data=False)  # weights of gigabytes say nothing of sizes
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        nodes = [node for node in model.graph.node if node.op_type in {*_PLAIN, *_UNKNOWN, _TRANSPOSED}]
        shapes = _shapes(path, model, nodes, size)
        return sum(_of_node(node, shapes) for node in nodes)
    except Exception as error:  # onnx and onnxruntime raise kinds of their own for each way to fail
        log.info("%s: its operations cannot be counted (%s).", path, first_line(error))
        return None


def _shapes(path: Path, model: Any, nodes: Sequence[Any], size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that some nodes take or give: the file is run on black, and asked for these alone.

    Inferring them does not reach past a size that the file computes, as for padding to a multiple.
    """
    shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
    (image,) = (item for item in model.graph.input if item.name not in shapes)
    asked = sorted({name for node in nodes for name in [*node.input, *node.output] if name} - {*shapes, image.name})
    del model.graph.output[:]
    for number, name in enumerate(asked):
        model.graph.node.append(onnx.helper.make_node("Shape", [name], [f"{number} shape"]))
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{number} shape", onnx.TensorProto.INT64, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    black = np.zeros(size, onnx.helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type))
    found = session.run(None, {image.name: black}) if asked else []
    return (
        shapes | {image.name: size} | {name: tuple(map(int, shape)) for name, shape in zip(asked, found, strict=True)}
    )


def _of_node(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """Operations of one node.

    Raises:
        ValueError: it is of a kind that is not counted.
    """
    kind = node.op_type
    if kind in _UNKNOWN:
        raise ValueError(f"it has a node of kind {kind}, which is not counted")
    if kind == _TRANSPOSED:  # every input value meets the whole kernel
        batch, _, *sides = shapes[node.input[0]]
        return 2 * batch * math.prod(sides) * math.prod(shapes[node.input[1]])
    first, second = shapes[node.input[0]], shapes[node.input[_PLAIN[kind]]]
    if "Conv" in kind:
        summands = math.prod(second[1:])
    elif kind == "Gemm":
        flipped = any(item.name == "transA" and item.i for item in node.attribute)
        summands = first[0] if flipped else first[1]
    else:
        summands = first[-1]
    return 2 * math.prod(shapes[node.output[0]]) * summands
