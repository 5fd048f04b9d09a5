"""Segmenters in ONNX files: what goes in, what comes out and how the pixels are scaled is read from the file."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam import files
from goodsam.errors import GoodSAMError, first_line
from goodsam.teachers.normalisation import resized
from goodsam.teachers.onnx_graph import Graph
from goodsam.teachers.onnx_metadata import choose_normalisation, class_names
from goodsam.teachers.onnx_session import DTYPES, channels_first, image_input, logits_output, open_session
from goodsam.weights import WeightFile

log = logging.getLogger(__name__)


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
        self._session = open_session(path, self.device)
        self._metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._graph = Graph(path)
        self._input = image_input(path, self._session.get_inputs())
        self._output = logits_output(path, self._session.get_outputs())
        self._dtype = DTYPES[self._input.type]
        self._channels_first = channels_first(path, self._input.shape)
        self.classes = class_names(path, self._metadata)
        self.parameters = self._graph.parameters
        self.runs: Counter[tuple[int, ...]] = Counter()
        """How often it ran, by the shape of its input."""
        self.align_corners = self._metadata.get("align_corners", "false").lower() in ("true", "1")
        self.normalisation, self._reason = choose_normalisation(
            path, self._metadata, self._dtype, self._graph, self._input.name
        )
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
            "white": self.normalisation.white,
            "mean": list(self.normalisation.mean),
            "std": list(self.normalisation.std),
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
        scaled = self.normalisation.apply(pixels)
        if self._dtype is np.uint8:
            scaled = scaled.round().clamp(0, 255)
        array = (scaled if self._channels_first else scaled.permute(0, 2, 3, 1)).numpy().astype(self._dtype)
        batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else len(array)
        results = []
        for start in range(0, len(array), batch):
            part = array[start : start + batch]
            # A file with a fixed batch takes no smaller one: the last part is filled up with its last image.
            filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            self.runs[filled.shape] += 1
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
            f"{self._reason}; output {self._output.name}, {self.class_count} classes, "
            f"{'probabilities' if self._gives_probabilities else 'logits'}"
        )
