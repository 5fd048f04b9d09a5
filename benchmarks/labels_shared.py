"""What both environments of `labels.py` share: the networks, a watch on their parts, peak memory. No goodsam here."""

import importlib.util
import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
STREET = ROOT / "goodsam" / "assets" / "street-teacher"
NETWORKS = ("street", "vit-b", "tiny")
ENCODER, DECODER = ("vision_encoder", "image_encoder"), ("prompt_encoder", "mask_decoder")
"""What transformers and segment-anything call the parts of a network."""


def peer_masks() -> ModuleType:
    """tools/peer_masks.py: random weights that are the same under every version of torch, and names of weights."""
    spec = importlib.util.spec_from_file_location("peer_masks", ROOT / "tools" / "peer_masks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network(name: str) -> Any:
    """transformers' model, float32, in evaluation mode: the bundled teacher, a SAM ViT-B or a tiny SAM, both random."""
    import transformers

    if name == "street":
        return transformers.Sam2Model.from_pretrained(STREET, dtype=torch.float32).eval()
    peer = peer_masks()
    if name == "tiny":
        return peer.tiny_model("sam")
    model = transformers.SamModel(transformers.SamConfig())  # its defaults are ViT-B
    peer.fill(model)
    return model.eval()


class Watch:
    """Seconds inside a network's image encoder, and inside its prompt encoder and mask decoder.

    Args:
        model: transformers' or segment-anything's.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.encoder = self.decoder = 0.0
        self._start = 0.0
        for name, part in model.named_children():
            if name in ENCODER + DECODER:
                part.register_forward_pre_hook(self._begin)
                part.register_forward_hook(self._end_encoder if name in ENCODER else self._end_decoder)

    def reset(self) -> None:
        """Forget what has been counted."""
        self.encoder = self.decoder = 0.0

    def seconds(self) -> dict[str, float]:
        """Both, by name."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def _begin(self, *_: Any) -> None:
        self._start = time.perf_counter()  # the parts never run inside one another

    def _end_encoder(self, *_: Any) -> None:
        self.encoder += time.perf_counter() - self._start

    def _end_decoder(self, *_: Any) -> None:
        self.decoder += time.perf_counter() - self._start


def use_threads(number: int) -> int:
    """Set torch's threads, 0 for its own choice; returns how many there are."""
    if number:
        torch.set_num_threads(number)
    return torch.get_num_threads()


def peak_mb() -> float:
    """The most memory that this process had, MB."""
    status = Path("/proc/self/status").read_text()  # not getrusage: its figure is inherited from the parent
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def read_views(path: str) -> np.ndarray:
    """The views of a panorama, uint8 (K, h, w, 3)."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["views"]


def middle(image: np.ndarray) -> np.ndarray:
    """The one prompt that all ways are asked to compare their logits: float32 (1, 2), x and y, pixels of the image."""
    return np.array([[image.shape[1] / 2, image.shape[0] * 0.6]], dtype=np.float32)


def say(facts: dict[str, Any]) -> None:
    """What a process has found, as the last line of its output."""
    print(json.dumps(facts), flush=True)
