"""Segmenters in ONNX files: what goes in, what comes out and how the pixels are scaled is read from the file."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam import files
from goodsam.errors import GoodSAMError, first_line
from goodsam.weights import WeightFile

try:
    import onnxruntime
except ImportError:  # an optional extra
    onnxruntime = None

log = logging.getLogger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_LOGIT_NAMES = ("logits", "output", "out")
# Steps between the image and its first arithmetic that leave pixel values as they are.
_NEUTRAL = {"Cast", "Clip", "Gather", "Identity", "Pad", "Resize", "Slice", "Split", "Squeeze", "Transpose"}
_NEUTRAL |= {"Expand", "Reshape", "Unsqueeze"}
_NORMALISING = {"Sub", "Add", "Mul", "Div", "BatchNormalization"}


@dataclass(frozen=True)
class Scaling:
    """What the file wants of the pixels: (rgb * white - mean) / std, rgb in 0..1."""

    white: float
    """Value of a white pixel before mean and std: 1 or 255."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reason: str
    """Why this was chosen, for the log."""

    def apply(self, images: Tensor) -> Tensor:
        """float32 (B, 3, h, w) in 0..1 -> the same shape, scaled."""
        mean, std = (images.new_tensor(value)[:, None, None] for value in (self.mean, self.std))
        return (images * self.white - mean) / std


class OnnxSegmenter:
    """A segmenter in an ONNX file: one image in, one map of logits or probabilities out.

    Metadata keys of the file that are heeded, all optional: `classes` (JSON list of names), `scale` (value of white: 1
    or 255), `mean` and `std` (JSON lists of 3, after scale), `align_corners` (true or false), `license`.

    Args:
        path: the .onnx file.
        device: "cuda" runs it there where onnxruntime can; anything else on the CPU.
    Raises:
        GoodSAMError: onnxruntime is missing, the file is not ONNX, or its inputs and outputs are not a segmenter's.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        self.path = path
        self.device = torch.device(device)
        self._session = _open_session(path, self.device)
        self._metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._graph = _Graph(path)
        self._input = _image_input(path, self._session.get_inputs())
        self._output = _logits_output(path, self._session.get_outputs())
        self._dtype = _DTYPES[self._input.type]
        self._channels_first = _channels_first(path, self._input.shape)
        self.classes = _class_names(path, self._metadata)
        self.align_corners = self._metadata.get("align_corners", "false").lower() in ("true", "1")
        self.scaling = _choose_scaling(path, self._metadata, self._dtype, self._graph, self._input.name)
        self._probe()
        log.info("%s: %s", path, self._description())

    def weight_files(self, name: str) -> tuple[WeightFile, ...]:
        """The file and those that hold its tensors outside it, with hash and the licence that the metadata names."""
        licence = self._metadata.get("license") or self._metadata.get("licence") or "unknown"
        paths = [self.path, *(self.path.parent / location for location in sorted(self._graph.external))]
        return tuple(WeightFile(name, path.name, files.sha256_of(path), licence) for path in paths)

    def options(self) -> dict[str, Any]:
        """What was discovered and changes the result, as JSON values."""
        return {
            "input": self._input.name,
            "output": self._output.name,
            "layout": "NCHW" if self._channels_first else "NHWC",
            "size": list(self._fixed_size) if self._fixed_size else "any",
            "divisor": self._divisor,
            "dtype": np.dtype(self._dtype).name,
            "white": self.scaling.white,
            "mean": list(self.scaling.mean),
            "std": list(self.scaling.std),
            "gives": "probabilities" if self._gives_probabilities else "logits",
            "align_corners": self.align_corners,
        }

    def probabilities(self, images: Tensor) -> Tensor:
        """Per-class probabilities of images.

        Args:
            images: float32 (B, 3, h, w), RGB 0..1.
        Returns:
            float32 (B, C, h, w) on the device given, sums to one over C.
        """
        height, width = images.shape[2:]
        pixels = images.float().cpu()
        if self._fixed_size:
            pixels = resized(pixels, self._fixed_size)
        pad = [-side % self._divisor for side in reversed(pixels.shape[2:])]
        pixels = F.pad(pixels, [0, pad[0], 0, pad[1]], mode="replicate")
        values = self._run(pixels).to(self.device)
        size = (height, width) if self._fixed_size else tuple(pixels.shape[2:])
        values = F.interpolate(values, size=size, mode="bilinear", align_corners=self.align_corners)
        values = values[:, :, :height, :width]
        return values if self._gives_probabilities else values.softmax(1)

    def _run(self, pixels: Tensor) -> Tensor:
        """Pixels 0..1 at a size that the file takes -> its output, float32 (B, C, h', w')."""
        scaled = self.scaling.apply(pixels)
        if self._dtype is np.uint8:
            scaled = scaled.round().clamp(0, 255)
        array = (scaled if self._channels_first else scaled.permute(0, 2, 3, 1)).numpy().astype(self._dtype)
        batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else len(array)
        results = []
        for start in range(0, len(array), batch):
            part = array[start : start + batch]
            # A file with a fixed batch takes no smaller one: the last part is filled up with its last image.
            filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            output = self._session.run([self._output.name], {self._input.name: np.ascontiguousarray(filled)})[0]
            results.append(np.asarray(output, dtype=np.float32)[: len(part)])
        values = torch.from_numpy(np.concatenate(results))
        return values if self._class_axis == 1 else values.permute(0, 3, 1, 2)

    def _probe(self) -> None:
        """Run the file once on fixed noise: which sizes it takes, how many classes, logits or probabilities."""
        rows, columns = self._input.shape[2:] if self._channels_first else self._input.shape[1:3]
        self._fixed_size: tuple[int, int] | None = None
        if isinstance(rows, int) and isinstance(columns, int):
            self._fixed_size = (rows, columns)
        self._class_axis, self._divisor = 1, 1
        output = self._first_output()
        self._class_axis = self._find_class_axis(tuple(output.shape))
        values = output if self._class_axis == 1 else output.permute(0, 3, 1, 2)
        self.class_count = values.shape[1]
        if self.class_count < 2 or (self.classes and len(self.classes) != self.class_count):
            raise GoodSAMError(
                f"{self.path}: output {self._output.name} has {self.class_count} channels, but a logits output has one "
                f"per class, at least 2{f' (here {len(self.classes)} by its metadata)' if self.classes else ''}."
            )
        total = values.sum(1)
        self._gives_probabilities = bool(values.min() >= 0) and torch.allclose(total, torch.ones_like(total), atol=1e-2)

    def _first_output(self) -> Tensor:
        """What it gives for fixed noise; where odd sizes fail, `_divisor` becomes 32."""
        attempts = [(self._fixed_size, 1)] if self._fixed_size else [((203, 277), 1), ((256, 320), 32)]
        for size, self._divisor in attempts:
            noise = torch.rand((1, 3, *size), generator=torch.Generator().manual_seed(0))
            try:
                return self._run(noise)
            except Exception as error:  # onnxruntime raises a kind of its own for each way to fail
                failure = error
        raise GoodSAMError(
            f"{self.path}: does not run on an image of {size[0]} x {size[1]} pixels ({first_line(failure)}); "
            "export it with dynamic height and width, or with the one size that it takes as its input's shape."
        ) from failure

    def _find_class_axis(self, shape: tuple[int, ...]) -> int:
        """1 or 3: where the output holds its classes."""
        if self.classes and (shape[1] == len(self.classes)) != (shape[3] == len(self.classes)):
            return 1 if shape[1] == len(self.classes) else 3
        declared = self._output.shape
        if isinstance(declared[1], int) != isinstance(declared[3], int):
            return 1 if isinstance(declared[1], int) else 3
        return 1 if self._channels_first else 3

    def _description(self) -> str:
        size = "{} x {} pixels".format(*self._fixed_size) if self._fixed_size else "any size"
        if self._divisor > 1:
            size += f" (padded to a multiple of {self._divisor})"
        layout = "NCHW" if self._channels_first else "NHWC"
        return (
            f"input {self._input.name} {np.dtype(self._dtype).name} {layout}, {size}, "
            f"{self.scaling.reason}; output {self._output.name}, {self.class_count} classes, "
            f"{'probabilities' if self._gives_probabilities else 'logits'}"
        )


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear (B, C, h, w) -> (B, C, *size), antialiased where a side shrinks."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    shrinks = size[0] < images.shape[2] or size[1] < images.shape[3]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=shrinks)


def _open_session(path: Path, device: torch.device) -> Any:
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


def _image_input(path: Path, inputs: list[Any]) -> Any:
    described = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs) or "none"
    good = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].type in _DTYPES
    if not good:
        raise GoodSAMError(
            f"--assistant {path}: its inputs are {described}; a segmenter has one, an RGB image of float32, float16 or "
            "uint8 with shape N x 3 x H x W or N x H x W x 3."
        )
    return inputs[0]


def _channels_first(path: Path, shape: list[Any]) -> bool:
    if shape[1] == 3 or (not isinstance(shape[1], int) and shape[3] != 3):
        return True
    if shape[3] == 3:
        return False
    raise GoodSAMError(
        f"--assistant {path}: its input has shape {shape}; an RGB image has 3 channels, N x 3 x H x W or N x H x W x 3."
    )


def _logits_output(path: Path, outputs: list[Any]) -> Any:
    """The 4-D float output: by a usual name, else the one with the most channels."""
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


def _class_names(path: Path, metadata: dict[str, str]) -> tuple[str, ...] | None:
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


def _choose_scaling(path: Path, metadata: dict[str, str], dtype: type, graph: "_Graph", image: str) -> Scaling:
    """What the metadata says, else what dtype and the graph's first arithmetic show, else ImageNet's.

    Decided from the file alone, never from the pictures, so that equal files treat all pictures alike.
    """
    none, unit = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if any(key in metadata for key in ("scale", "mean", "std")):
        return _scaling_of_metadata(path, metadata, 255.0 if dtype is np.uint8 else 1.0)
    if dtype is np.uint8:
        return Scaling(255.0, none, unit, "pixels 0..255 (uint8)")
    step = graph.first_arithmetic(image)
    if step is not None and step[0] in _NORMALISING:
        operation, constants = step
        white = 255.0 if _meant_for_bytes(operation, constants) else 1.0
        return Scaling(white, none, unit, f"pixels 0..{white:g} (the graph normalises, its first step is {operation})")
    reason = "pixels 0..1 less ImageNet mean, over std (no normalisation in the graph; metadata `scale` says otherwise)"
    return Scaling(1.0, IMAGENET_MEAN, IMAGENET_STD, reason)


def _scaling_of_metadata(path: Path, metadata: dict[str, str], default_white: float) -> Scaling:
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
    return Scaling(white, values["mean"], values["std"], reason)


def _meant_for_bytes(operation: str, constants: np.ndarray) -> bool:
    """Whether a first step's constants make sense for pixels in 0..255 alone: mean 123.7, division by 255, ..."""
    if not constants.size:
        return False
    largest = float(np.abs(constants).max())
    if operation == "Mul":
        return largest < 0.1  # 1/255 = 0.004, 1/58 = 0.017; 1/0.225 = 4.4
    return largest > 20  # mean 123.7 or 127.5, division by 255; in 0..1 the values stay below 5


class _Graph:
    """As much of an ONNX file as tells how it treats its image: nodes and small constants.

    onnxruntime does not show the graph, and the `onnx` package is not needed to run one, so the few fields are read
    from the file itself (protobuf; field numbers from onnx.proto).
    """

    def __init__(self, path: Path) -> None:
        self.nodes: list[tuple[str, list[str], list[str]]] = []
        self.constants: dict[str, np.ndarray] = {}
        self.external: set[str] = set()
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
                for part, tensor in _fields(attribute) if number == 5 else ():
                    if part == 5:  # AttributeProto.t
                        self._add_tensor(tensor, outputs[0])

    def _add_tensor(self, data: Any, name: str | None) -> None:
        """Keep a float tensor's values where they are few; note files that hold tensors outside this one."""
        fields = dict(_fields(data))
        name = name or _text(fields.get(8, b""))
        for number, value in _fields(data):
            if number == 13:  # TensorProto.external_data: key, value
                entry = dict(_fields(value))
                if _text(entry.get(1, b"")) == "location":
                    self.external.add(_text(entry[2]))
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
