"""As much of an ONNX file's graph as tells how it treats its image, read without the `onnx` package."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Steps between the image and its first arithmetic that leave pixel values as they are.
_NEUTRAL = {"Cast", "Clip", "Gather", "Identity", "Pad", "Resize", "Slice", "Split", "Squeeze", "Transpose"}
_NEUTRAL |= {"Expand", "Reshape", "Unsqueeze"}

_WEIGHT_TYPES = {1, 2, 3, 10, 11, 16}
"""TensorProto.DataType: float32, uint8 and int8 (quantised), float16, float64, bfloat16."""


class Graph:
    """Nodes and small constants of an ONNX file, the number of its weights, and files that hold tensors outside it.

    onnxruntime does not show the graph, and the `onnx` package is not needed to run one, so the few fields are read
    from the file itself (protobuf; field numbers from onnx.proto).
    """

    def __init__(self, path: Path) -> None:
        self.nodes: list[tuple[str, list[str], list[str]]] = []
        self.constants: dict[str, np.ndarray] = {}
        self.external: set[str] = set()
        self.parameters = 0
        """Numbers in all its tensors of a type that weights have; an integer's are sizes and places."""
        for number, value in _fields(memoryview(path.read_bytes())):
            if number == 7:  # ModelProto.graph
                for part, content in _fields(value):
                    if part == 1:  # GraphProto.node
                        self._add_node(content)
                    elif part == 5:  # GraphProto.initializer
                        self._add_tensor(content, None)

    def _add_node(self, data: Any) -> None:
        fields = list(_fields(data))
        inputs, outputs = ([_text(value) for number, value in fields if number == wanted] for wanted in (1, 2))
        kind = "".join(_text(value) for number, value in fields if number == 4)
        self.nodes.append((kind, inputs, outputs))
        if kind == "Constant":
            for number, attribute in fields:
                if number == 5:
                    self._add_constant(attribute, outputs[0])

    def _add_constant(self, attribute: Any, name: str) -> None:
        """A `Constant` node holds its value as a tensor, or in short as one float or several."""
        for part, value in _fields(attribute):
            if part == 5:  # AttributeProto.t
                self._add_tensor(value, name)
            elif part in (2, 7):  # AttributeProto.f and .floats, packed or one by one
                before = self.constants.get(name, np.empty(0, np.float32))
                self.constants[name] = np.concatenate([before, np.frombuffer(value, np.float32)])

    def _add_tensor(self, data: Any, name: str | None) -> None:
        """Keep a float tensor's values where they are few; note files that hold tensors outside this one."""
        fields = dict(_fields(data))
        name = name or _text(fields.get(8, b""))
        for number, value in _fields(data):
            if number == 13:  # TensorProto.external_data: key, value
                entry = dict(_fields(value))
                if _text(entry.get(1, b"")) == "location":
                    self.external.add(_text(entry[2]))
        if fields.get(2, 0) in _WEIGHT_TYPES:
            dims = [value for number, value in _fields(data) if number == 1]
            self.parameters += math.prod(size for value in dims for size in _sizes(value))
        dtype = {1: np.float32, 10: np.float16, 11: np.float64}.get(fields.get(2, 0))
        content = fields.get(9, fields.get(4, fields.get(10, b"")))  # raw_data, float_data, double_data
        small = not isinstance(content, int) and len(content) <= 4096
        self.constants[name] = np.frombuffer(content, dtype) if dtype and small else np.empty(0)

    def first_arithmetic(self, image: str) -> tuple[str, np.ndarray] | None:
        """The first step that changes the image's values: its kind and its constant operand ([] where not small)."""
        names = {image}
        for kind, inputs, outputs in self.nodes:
            if not names.intersection(inputs):
                if kind in _NEUTRAL and inputs[0] in self.constants:
                    self.constants[outputs[0]] = self.constants[inputs[0]]  # a mean given another shape
            elif kind in _NEUTRAL:
                names.update(outputs)
            elif kind != "Shape":
                operands = [self.constants[name] for name in inputs if name in self.constants]
                if kind == "BatchNormalization":
                    operands = operands[2:3]  # after scale and offset: the mean
                # Arithmetic with something computed is not a normalisation.
                return (kind, operands[0]) if operands else None
        return None


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """Fields of a protobuf message: number, and bytes or integer."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if size is None:
            size, position = _varint(data, position)
        yield number, data[position : position + size]
        position += size


def _sizes(value: Any) -> Iterator[int]:
    """TensorProto.dims: one by one, or packed."""
    if isinstance(value, int):
        yield value
        return
    position = 0
    while position < len(value):
        size, position = _varint(value, position)
        yield size


def _varint(data: Any, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _text(value: Any) -> str:
    return bytes(value).decode(errors="replace")
