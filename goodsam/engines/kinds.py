"""Kinds of engine: their names, and which of them this machine has.

A kind is an engine, and where it computes with fewer bits than float32 these: "torch", "torch-bf16", "torch-fp16",
"onnx", "openvino", "openvino-bf16".
"""

import importlib.util
import sys
from typing import Any

import torch

from goodsam.errors import GoodSAMError

ALL = ("torch", "torch-bf16", "torch-fp16", "onnx", "openvino", "openvino-bf16")
"""Every kind, on whatever machine."""
PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}
"""What each engine but PyTorch needs: `onnx` writes the file that onnxruntime runs."""


def check(asked: str, device: torch.device) -> None:
    """Make sure that what `--engine` asks for is here.

    Args:
        asked: auto, torch, onnx or openvino.
        device: where the network runs.
    Raises:
        GoodSAMError: it is not, or not on this device.
    """
    if asked not in ("auto", "torch", *PACKAGES):
        raise GoodSAMError(f"--engine {asked}: must be auto, torch, onnx or openvino.")
    if asked in PACKAGES and device.type != "cpu":
        raise GoodSAMError(
            f"--engine {asked}: runs on processors, but the device is {device.type}; give --engine auto or torch, or "
            "--device cpu."
        )
    if lacking(asked):
        raise GoodSAMError(f'--engine {asked}: needs {" and ".join(lacking(asked))}; `pip install "goodsam[{asked}]"`.')


def offered(asked: str, device: torch.device) -> tuple[str, ...]:
    """The kinds that `--engine` lets one choose from; arguments and errors as of `check`."""
    check(asked, device)
    if asked == "torch":
        return ("torch",)
    if device.type != "cpu":
        return ("torch", _half(device))
    found = [name for name in (PACKAGES if asked == "auto" else (asked,)) if not lacking(name)]
    if "openvino" in found and "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        found.append("openvino-bf16")
    return ("torch", *found) if asked == "auto" else tuple(found)


def lacking(engine: str) -> list[str]:
    """The packages of an engine that are not installed."""
    return [package for package in PACKAGES.get(engine, ()) if not _installed(package)]


def is_half(kind: str) -> bool:
    """Whether a kind computes with 16 bits."""
    return "-" in kind


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _half(device: torch.device) -> str:
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "torch-bf16" if bf16 else "torch-fp16"


def openvino() -> Any:
    """The package, without the telemetry that it would send when imported: panoramas are their owner's business."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes its import fail
    import openvino as package

    return package
