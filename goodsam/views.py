"""Overlapping views of a panorama: how they are laid, cut out, and merged back.

Views, their overlap and their weights are our choice; the paper says only that windows slide and overlap.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam import sphere
from goodsam.errors import GoodSAMError
from goodsam.panorama import Geometry, Panorama, wrap_pad


@dataclass(frozen=True)
class Crop:
    """The panorama's full height, `width` degrees of its yaw; wraps past the seam. 360 wide is the whole panorama."""

    yaw: float
    """Yaw of its centre, degrees."""
    width: float
    """Yaw that it spans, degrees."""
    kind: Literal["crop"] = "crop"


@dataclass(frozen=True)
class Tangent:
    """A square perspective view."""

    yaw: float
    """Where it looks, degrees."""
    pitch: float
    """Where it looks, degrees, up is positive."""
    fov: float
    """Field of view from side to side, degrees."""
    kind: Literal["tangent"] = "tangent"


View = Crop | Tangent
WHOLE = Crop(yaw=0.0, width=360.0)


def view_to_json(view: View) -> dict[str, Any]:
    """The view as the masks file holds it."""
    return asdict(view)


def view_from_json(value: dict[str, Any]) -> View:
    """The inverse of `view_to_json`."""
    return {"crop": Crop, "tangent": Tangent}[value["kind"]](**value)


def lay_views(geometry: Geometry, kind: str = "auto", width: float = 90.0, step: float = 45.0) -> tuple[View, ...]:
    """Views that cover a panorama with overlap.

    Args:
        geometry: of the panorama.
        kind: "crops" (full height), "tangent" (perspective, rows of views at pitch multiples of `step` and one at each
            pole inside the band), "whole", or "auto": crops up to 100 degrees of vertical field of view, where the
            stretch at the edge is at most 1.6, tangent views above.
        width: of a view, degrees; a tangent view's field of view.
        step: between the centres of neighbours, degrees; must divide 360.
    Raises:
        GoodSAMError: a step that leaves gaps or does not close the circle.
    """
    if kind == "auto":
        kind = "crops" if geometry.vfov <= 100 else "tangent"
    if kind == "whole":
        return (WHOLE,)
    if not 0 < step <= width / 2 or abs(360 / step - round(360 / step)) > 1e-9:
        raise GoodSAMError(
            f"--view-step {step:g}: must divide 360 and be at most half of --view-width {width:g}, so that every "
            f"pixel is seen by two views; {width / 2:g} would do if it divides 360."
        )
    yaws = [index * step - 180 for index in range(round(360 / step))]
    if kind == "crops":
        return tuple(Crop(yaw, width) for yaw in yaws)
    if kind != "tangent":
        raise GoodSAMError(f"--views {kind}: must be auto, crops, tangent or whole.")
    pitches = geometry.pitch_of_rows()
    rows = [p * step for p in range(-int(89.9 // step), int(89.9 // step) + 1)]
    rows = [p for p in rows if pitches[-1] - step / 2 <= p <= pitches[0] + step / 2]
    poles = [pole for pole in (90.0, -90.0) if min(abs(pole - pitches[0]), abs(pole - pitches[-1])) < step]
    return tuple(Tangent(yaw, float(pitch), width) for pitch in rows for yaw in yaws) + tuple(
        Tangent(0.0, pole, width) for pole in poles
    )


def size_of(view: View, geometry: Geometry) -> tuple[int, int]:
    """Pixels (h, w) of a view at the panorama's own resolution: as wide, or as dense at its centre."""
    if isinstance(view, Crop):
        return geometry.height, round(view.width / 360 * geometry.width)
    side = 2 * np.tan(np.deg2rad(view.fov) / 2) * geometry.width / (2 * np.pi)
    return (max(32, round(side / 32) * 32),) * 2


def _columns(view: Crop, geometry: Geometry) -> np.ndarray:
    width = size_of(view, geometry)[1]
    return (geometry.column_of_yaw(view.yaw - view.width / 2) + np.arange(width)) % geometry.width


@lru_cache(maxsize=64)
def _panorama_grid(view: Tangent, geometry: Geometry) -> Tensor:
    """Where each pixel of a tangent view lies in the panorama: float32 (h, w, 2), columns and rows in pixels."""
    size = size_of(view, geometry)[0]
    yaw, pitch = sphere.yaw_pitch_of(sphere.tangent_directions(view.yaw, view.pitch, view.fov, size))
    column = (yaw + 180) / 360 * geometry.width - 0.5
    row = geometry.horizon - pitch / geometry.degrees_per_row - 0.5
    return torch.stack([column, row], dim=-1).float()


def cut(panorama: Panorama, view: View) -> np.ndarray:
    """What a view sees: uint8 (h, w, 3); bilinear for tangent views, black where the panorama does not reach."""
    geometry = panorama.geometry
    if isinstance(view, Crop):
        return np.ascontiguousarray(panorama.pixels[:, _columns(view, geometry)])
    grid = _panorama_grid(view, geometry)
    padded = torch.from_numpy(wrap_pad(panorama.pixels, 1)).permute(2, 0, 1).float()
    height, width = padded.shape[1:]
    # +1 for the padding column; grid_sample wants -1..1 from edge to edge.
    position = torch.stack([(grid[..., 0] + 1.5) / width, (grid[..., 1] + 0.5) / height], dim=-1) * 2 - 1
    seen = F.grid_sample(padded[None], position[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    inside = (grid[..., 1] > -1) & (grid[..., 1] < geometry.height)
    return (seen * inside).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def cut_labels(labels: np.ndarray, geometry: Geometry, view: View, ignore: int = 255) -> np.ndarray:
    """What a view sees of a label map (H, W): nearest neighbour, `ignore` where the panorama does not reach."""
    if isinstance(view, Crop):
        return labels[:, _columns(view, geometry)]
    grid = _panorama_grid(view, geometry).round().long().numpy()
    rows, columns = grid[..., 1], grid[..., 0] % geometry.width
    inside = (rows >= 0) & (rows < geometry.height)
    return np.where(inside, labels[rows.clip(0, geometry.height - 1), columns], ignore).astype(labels.dtype)


@dataclass(frozen=True)
class Footprint:
    """The panorama pixels (of a grid of any size) that a view sees, n of them, and where the view holds each."""

    index: Tensor
    """int64 (n,), flat index of the panorama pixel."""
    nearest: Tensor
    """int64 (n,), flat index of the nearest pixel of the view."""
    position: Tensor
    """float32 (n, 2), x and y in the view, -1..1 from edge to edge, as grid_sample takes them."""
    weight: Tensor
    """float32 (n,), above 0: how far the view is to be trusted there, before normalisation over views."""


@lru_cache(maxsize=64)
def footprint(view: View, geometry: Geometry, size: tuple[int, int]) -> Footprint:
    """Which pixels of a panorama grid of `size` (H, W) a view sees, where, and with what weight.

    Crops: the weight falls with the distance in yaw, since what is lost at their edge is context and the stretch
    depends on the row alone. Tangent views: it falls with the angle to the axis, as the gnomonic stretch grows.
    """
    height, width = size
    view_height, view_width = size_of(view, geometry)
    yaw = (torch.arange(width, dtype=torch.float64) + 0.5) / width * 360 - 180
    if isinstance(view, Crop):
        # The pixels' own column arithmetic, so that at full size position and pixel centre are one and the same.
        start = geometry.column_of_yaw(view.yaw - view.width / 2) / geometry.width * width
        span = view_width / geometry.width * width
        x = ((torch.arange(width, dtype=torch.float64) + 0.5 - start) % width) / span * 2 - 1
        y = (torch.arange(height, dtype=torch.float64) + 0.5) / height * 2 - 1
        inside = x < 1
        weight = torch.ones(width, dtype=torch.float64) if view.width >= 360 else sphere.hann(x.abs(), 1.0)
        y, x = torch.meshgrid(y, x, indexing="ij")
        inside, weight = inside.expand(size), weight.expand(size)
    else:
        pitch = torch.from_numpy(geometry.pitch_of_rows(height))
        pitch, yaw = torch.meshgrid(pitch, yaw, indexing="ij")
        direction = sphere.direction_of(yaw, pitch)
        x, y, angle = sphere.tangent_position(direction, view.yaw, view.pitch, view.fov)
        weight = sphere.hann(angle, view.fov / 2)
        inside = (x.abs() < 1) & (y.abs() < 1)
    index = (inside & (weight > 0)).flatten().nonzero()[:, 0]
    x, y, weight = x.flatten()[index], y.flatten()[index], weight.flatten()[index]
    column = ((x + 1) / 2 * view_width).long().clamp(0, view_width - 1)
    row = ((y + 1) / 2 * view_height).long().clamp(0, view_height - 1)
    position = torch.stack([x, y], dim=-1).float()
    return Footprint(index, row * view_width + column, position, weight.float())


def sample(values: Tensor, foot: Footprint) -> Tensor:
    """Values of a view at the panorama pixels that it sees, bilinear: (D, h, w) of any size -> (n, D)."""
    position = foot.position.to(values.device)[None, None]
    seen = F.grid_sample(values[None].float(), position, mode="bilinear", padding_mode="border", align_corners=False)
    return seen[0, :, 0].T


class Merger:
    """Weighted mean of what views say, one view at a time: P(x) = sum_k r_k(x) p_k(x), sum_k r_k(x) = 1.

    Args:
        geometry: of the panorama.
        channels: D of the values.
        size: (H, W) of the merged grid; None for the panorama's own.
    """

    def __init__(self, geometry: Geometry, channels: int, size: tuple[int, int] | None = None) -> None:
        self.geometry = geometry
        self.size = size or (geometry.height, geometry.width)
        pixels = self.size[0] * self.size[1]
        self._sum = torch.zeros(pixels, channels)
        self._weight = torch.zeros(pixels)

    def add(self, view: View, values: Tensor) -> None:
        """Add what a view says: float (D, h, w) in the view's frame, of any size, probabilities or features."""
        foot = footprint(view, self.geometry, self.size)
        values = values.cpu()
        same_pixels = self.size == (self.geometry.height, self.geometry.width) and isinstance(view, Crop)
        if same_pixels and tuple(values.shape[1:]) == size_of(view, self.geometry):
            seen = values.flatten(1).T[foot.nearest].float()  # pixel centres coincide: exact, no interpolation
        else:
            seen = sample(values, foot)
        self._sum.index_add_(0, foot.index, seen * foot.weight[:, None])
        self._weight.index_add_(0, foot.index, foot.weight)

    def result(self) -> Tensor:
        """The merged values, float32 (D, H, W).

        Raises:
            ValueError: some pixel was seen by no view.
        """
        if not bool((self._weight > 0).all()):
            raise ValueError("the views do not cover the panorama; add more views before merging")
        return (self._sum / self._weight[:, None]).T.reshape(-1, *self.size)


def view_weights(views: Sequence[View], geometry: Geometry, size: tuple[int, int] | None = None) -> Tensor:
    """Normalised weights r_k(x) of all views, float32 (K, H, W); 0 where view k does not see x, 1 summed over views."""
    size = size or (geometry.height, geometry.width)
    weights = torch.zeros(len(views), size[0] * size[1])
    for weight, view in zip(weights, views, strict=True):
        foot = footprint(view, geometry, size)
        weight[foot.index] = foot.weight
    return (weights / weights.sum(0)).reshape(len(views), *size)
