"""What the student learns from, on disk: probabilities as their three largest, features as a few channels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from goodsam import files
from goodsam.errors import GoodSAMError

KEPT = 3
"""Classes kept per pixel: 255ths of the three largest probabilities hold all but a few thousandths of the mass."""
FEATURE_CHANNELS = 64
FEATURE_STRIDES = {3: 16, 4: 32}
"""Stored levels and their stride on the panorama."""


def half_size(size: tuple[int, int]) -> tuple[int, int]:
    """(ceil(H / 2), ceil(W / 2)): the size at which probabilities are stored."""
    return -(-size[0] // 2), -(-size[1] // 2)


def compress(probabilities: Tensor, valid: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean over 2x2 blocks, then the three largest classes and 255 * their probability.

    Args:
        probabilities: float (C, H, W).
        valid: bool (H, W), False where there is no scene; a block without any is stored with probability 0.
    Returns:
        classes and probs, uint8 (min(3, C), ceil(H/2), ceil(W/2)).
    """
    pooled = F.avg_pool2d(probabilities[None], 2, ceil_mode=True, count_include_pad=False)[0]
    probs, classes = pooled.topk(min(KEPT, len(pooled)), dim=0)
    probs = (probs * 255).round()
    if valid is not None:
        seen = F.max_pool2d(torch.from_numpy(valid)[None].float(), 2, ceil_mode=True)[0]
        probs = probs * seen
    return classes.byte().numpy(), probs.byte().numpy()


def write_probabilities(path: Path, probabilities: Tensor, valid: np.ndarray | None = None) -> None:
    """Write `assistant_probs/<stem>.npz` or `ensemble/<stem>.npz`; see `compress`."""
    classes, probs = compress(probabilities, valid)
    files.write_npz(path, classes=classes, probs=probs)


@dataclass(frozen=True)
class StoredProbabilities:
    """The three largest classes of each pixel."""

    classes: Tensor
    """uint8 (3, h, w)."""
    probs: Tensor
    """uint8 (3, h, w), 255 * probability; all 0 where there is no scene."""

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.probs.shape[-2], self.probs.shape[-1]

    def labels(self) -> Tensor:
        """The largest class of each pixel, uint8 (h, w), 255 where there is no scene."""
        return torch.where(self.probs[0] > 0, self.classes[0], 255)

    def dense(self, number: int) -> tuple[Tensor, Tensor]:
        """All `number` classes, the mass left over spread evenly over those not stored.

        Returns:
            probabilities float32 (C, h, w), summing to one, and bool (h, w), False where there is no scene.
        """
        kept = self.probs.float() / 255
        total = kept.sum(0, keepdim=True)
        kept = kept / total.clamp_min(1)  # rounding may take the sum a little over one
        rest = (1 - kept.sum(0, keepdim=True)).clamp_min(0) / max(1, number - len(kept))
        dense = rest.expand(number, -1, -1).clone()
        dense.scatter_(0, self.classes.long(), kept)
        dense = dense / dense.sum(0, keepdim=True).clamp_min(1e-6)
        return dense, total[0] > 0


def read_probabilities(path: Path) -> StoredProbabilities:
    """Read what `write_probabilities` wrote."""
    value = files.read_npz(path)
    return StoredProbabilities(torch.from_numpy(value["classes"]), torch.from_numpy(value["probs"]))


@dataclass(frozen=True)
class Projection:
    """A principal component analysis per level: features (D) -> at most 64 channels."""

    mean: dict[int, Tensor]
    """float32 (D,)."""
    axes: dict[int, Tensor]
    """float32 (D, 64), orthonormal columns."""

    def __call__(self, level: int, features: Tensor) -> Tensor:
        """(D, h, w) -> (64, h, w)."""
        centred = features.float() - self.mean[level][:, None, None]
        return torch.einsum("dhw,dk->khw", centred, self.axes[level])

    def write(self, path: Path) -> None:
        """Write `features/pca.safetensors`."""
        tensors = {f"mean{level}": value for level, value in self.mean.items()}
        tensors |= {f"axes{level}": value.contiguous() for level, value in self.axes.items()}
        files.write_bytes(path, save(tensors))


class Components:
    """Principal components of features, from sums over maps that need not be kept."""

    def __init__(self) -> None:
        self._number: dict[int, int] = {}
        self._sum: dict[int, Tensor] = {}
        self._products: dict[int, Tensor] = {}

    def add(self, level: int, features: Tensor) -> None:
        """Add one map of features (D, h, w)."""
        rows = features.flatten(1).T.double()
        self._number[level] = self._number.get(level, 0) + len(rows)
        self._sum[level] = self._sum.get(level, 0) + rows.sum(0)
        self._products[level] = self._products.get(level, 0) + rows.T @ rows

    def projection(self) -> Projection:
        """Onto the largest of what was added."""
        mean, axes = {}, {}
        for level, number in self._number.items():
            centre = self._sum[level] / number
            mean[level] = centre.float()
            covariance = (self._products[level] - number * torch.outer(centre, centre)) / max(1, number - 1)
            vectors = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :FEATURE_CHANNELS]
            # An axis has no sign of its own: make its largest entry positive, so that equal input gives equal bytes.
            largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
            axes[level] = (vectors * largest.sign()).float()
        return Projection(mean, axes)


def fit_projection(samples: dict[int, list[Tensor]]) -> Projection:
    """Fit the analysis on merged features of the first panoramas, level -> list of (D, h, w)."""
    components = Components()
    for level, maps in samples.items():
        for item in maps:
            components.add(level, item)
    return components.projection()


def read_projection(path: Path) -> Projection:
    """Read what `Projection.write` wrote.

    Raises:
        GoodSAMError: damaged.
    """
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors has its own error type, not exported as an OSError
        raise GoodSAMError(
            f"{path}: cannot be read ({error}). Delete the features folder to have it made again."
        ) from error
    levels = sorted(int(name[4:]) for name in tensors if name.startswith("mean"))
    return Projection({n: tensors[f"mean{n}"] for n in levels}, {n: tensors[f"axes{n}"] for n in levels})


def feature_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """(h_l, w_l) of stored features on a panorama of `size`."""
    stride = FEATURE_STRIDES[level]
    return -(-size[0] // stride), -(-size[1] // stride)


def write_features(path: Path, features: dict[int, Tensor]) -> None:
    """Write `features/<stem>.npz`: level3 and level4, float16 (64, h_l, w_l)."""
    files.write_npz(path, **{f"level{level}": value.half().numpy() for level, value in features.items()})


def read_features(path: Path) -> dict[int, Tensor]:
    """level -> float32 (64, h_l, w_l)."""
    return {int(name[5:]): torch.from_numpy(value).float() for name, value in files.read_npz(path).items()}


def shrink(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (D, H, W) to (D, h, w): mean over the pixels that a new one covers; bilinear where it grows."""
    if tuple(values.shape[-2:]) == size:
        return values
    if values.shape[-2] % size[0] == 0 and values.shape[-1] % size[1] == 0:
        return F.adaptive_avg_pool2d(values[None], size)[0]
    return F.interpolate(values[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
