"""Overlapping views of a panorama: how they are laid, cut out, and merged back.

Views, their overlap and their weights are our choice; the paper says only that windows slide and overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from goodsam import sphere
from goodsam.cache import cached
from goodsam.errors import GoodSAMError
from goodsam.memory import give_back_freed_memory
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
BAND = 2**20
"""Pixels that are worked on at once, of a panorama or a view: what a pixel takes meanwhile is many times its result.
Our choice: a strip of 400x2048 is one band."""
KEPT_UP_TO = 8 * BAND
"""Pixels of a panorama up to which footprints and grids are kept for the next panorama of the same size."""
KEPT = 2**30
"""Bytes of footprints that are kept, and twice as many as of grids: those of 26 views of 4096x2048 pixels."""
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


def bands(size: tuple[int, int], pixels: int | None = None) -> Iterator[tuple[int, int]]:
    """Rows (first, first after) of bands of about `pixels` (`BAND` by default), from the upper edge of `size` (H, W).

    All but the last have an even number of rows, so that blocks of 2x2 pixels stay whole. Of several, what the work on
    one has freed is given back before the next.
    """
    height = -(-max(1, (pixels or BAND) // size[1]) // 2) * 2
    for top in range(0, size[0], height):
        yield top, min(size[0], top + height)
        if height < size[0]:
            give_back_freed_memory()


def size_of(view: View, geometry: Geometry) -> tuple[int, int]:
    """Pixels (h, w) of a view at the panorama's own resolution: as wide, or as dense at its centre."""
    if isinstance(view, Crop):
        return geometry.height, round(view.width / 360 * geometry.width)
    side = 2 * np.tan(np.deg2rad(view.fov) / 2) * geometry.width / (2 * np.pi)
    return (max(32, round(side / 32) * 32),) * 2


def _columns(view: Crop, geometry: Geometry) -> np.ndarray:
    width = size_of(view, geometry)[1]
    return (geometry.column_of_yaw(view.yaw - view.width / 2) + np.arange(width)) % geometry.width


def _panorama_grid(view: Tangent, geometry: Geometry, rows: tuple[int, int]) -> Tensor:
    """Where pixels in some rows of a tangent view lie in the panorama: float32 (rows, w, 2), columns and rows."""
    large = geometry.height * geometry.width > KEPT_UP_TO
    return (_make_grid if large else _kept_grid)(view, geometry, rows)


def _make_grid(view: Tangent, geometry: Geometry, rows: tuple[int, int]) -> Tensor:
    size = size_of(view, geometry)[0]
    yaw, pitch = sphere.yaw_pitch_of(sphere.tangent_directions(view.yaw, view.pitch, view.fov, size, rows))
    column = (yaw + 180) / 360 * geometry.width - 0.5
    row = geometry.horizon - pitch / geometry.degrees_per_row - 0.5
    return torch.stack([column, row], dim=-1).float()


_kept_grid = cached(KEPT // 2, lambda grid: grid.nbytes)(_make_grid)


def cut(panorama: Panorama, view: View) -> np.ndarray:
    """What a view sees: uint8 (h, w, 3); bilinear for tangent views, black where the panorama does not reach."""
    geometry = panorama.geometry
    if isinstance(view, Crop):
        return np.ascontiguousarray(panorama.pixels[:, _columns(view, geometry)])
    seen = np.empty((*size_of(view, geometry), 3), dtype=np.uint8)
    for top, bottom in bands(seen.shape[:2]):
        seen[top:bottom] = _cut_grid(panorama, _panorama_grid(view, geometry, (top, bottom)))
    return seen


def _cut_grid(panorama: Panorama, grid: Tensor) -> np.ndarray:
    """The panorama at columns and rows (h, w, 2), bilinear: uint8 (h, w, 3)."""
    geometry, first, last = panorama.geometry, 0, panorama.geometry.height
    if geometry.height * geometry.width > 4 * BAND:  # as floats it is large: only the rows that are needed
        first = int(grid[..., 1].min().floor().clamp(0, last - 1))
        last = int(grid[..., 1].max().floor().clamp(0, last - 1)) + 2
    padded = torch.from_numpy(wrap_pad(panorama.pixels[first:last], 1)).permute(2, 0, 1).float()
    height, width = padded.shape[1:]
    # +1 for the padding column; grid_sample wants -1..1 from edge to edge.
    position = torch.stack([(grid[..., 0] + 1.5) / width, (grid[..., 1] - first + 0.5) / height], dim=-1) * 2 - 1
    seen = F.grid_sample(padded[None], position[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    inside = (grid[..., 1] > -1) & (grid[..., 1] < geometry.height)
    return (seen * inside).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def cut_labels(labels: np.ndarray, geometry: Geometry, view: View, ignore: int = 255) -> np.ndarray:
    """What a view sees of a label map (H, W): nearest neighbour, `ignore` where the panorama does not reach."""
    if isinstance(view, Crop):
        return labels[:, _columns(view, geometry)]
    seen = np.empty(size_of(view, geometry), dtype=labels.dtype)
    for top, bottom in bands(size_of(view, geometry)):
        grid = _panorama_grid(view, geometry, (top, bottom)).round().long().numpy()
        rows, columns = grid[..., 1], grid[..., 0] % geometry.width
        inside = (rows >= 0) & (rows < geometry.height)
        seen[top:bottom] = np.where(inside, labels[rows.clip(0, geometry.height - 1), columns], ignore)
    return seen


@dataclass(frozen=True)
class Footprint:
    """The panorama pixels (of a grid of any size, or a band of it) that a view sees, n, and where it holds each."""

    index: Tensor
    """int64 (n,), flat index of the panorama pixel, from the band's first pixel on; rising."""
    nearest: Tensor
    """int64 (n,), flat index of the nearest pixel of the view."""
    position: Tensor
    """float32 (n, 2), x and y in the view, -1..1 from edge to edge, as grid_sample takes them."""
    weight: Tensor
    """float32 (n,), above 0: how far the view is to be trusted there, before normalisation over views."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.index.nbytes + self.nearest.nbytes + self.position.nbytes + self.weight.nbytes


def footprint(view: View, geometry: Geometry, size: tuple[int, int], rows: tuple[int, int] | None = None) -> Footprint:
    """Which pixels of a panorama grid of `size` (H, W) a view sees, where, and with what weight.

    Crops: the weight falls with the distance in yaw, since what is lost at their edge is context and the stretch
    depends on the row alone. Tangent views: it falls with the angle to the axis, as the gnomonic stretch grows.

    Args:
        view: of the panorama.
        geometry: of the panorama.
        size: of the grid.
        rows: the band's first row and first after; None for all.
    """
    large = size[0] * size[1] > KEPT_UP_TO
    return (_make_footprint if large else _kept_footprint)(view, geometry, size, rows or (0, size[0]))


def _make_footprint(view: View, geometry: Geometry, size: tuple[int, int], rows: tuple[int, int]) -> Footprint:
    view_height, view_width = size_of(view, geometry)
    if isinstance(view, Crop):
        columns, x, y, weight = _crop_positions(view, geometry, size, rows)
    else:
        columns, x, y, weight = _tangent_positions(view, geometry, size, rows)
    index = (weight > 0).flatten().nonzero()[:, 0]
    x, y, weight = x.flatten()[index], y.flatten()[index], weight.flatten()[index]
    column = ((x + 1) / 2 * view_width).long().clamp(0, view_width - 1)
    row = ((y + 1) / 2 * view_height).long().clamp(0, view_height - 1)
    position = torch.stack([x, y], dim=-1).float()
    if len(columns) < size[1]:
        index = index // max(1, len(columns)) * size[1] + columns[index % max(1, len(columns))]
    return Footprint(index, row * view_width + column, position, weight.float())


_kept_footprint = cached(KEPT, lambda foot: foot.nbytes)(_make_footprint)


def _crop_positions(
    view: Crop, geometry: Geometry, size: tuple[int, int], rows: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Columns int64 (n,) that a view may see, and float64 (rows, n) x, y and weight there, 0 where it does not."""
    height, width = size
    columns = torch.arange(width)
    # The pixels' own column arithmetic, so that at full size position and pixel centre are one and the same.
    start = geometry.column_of_yaw(view.yaw - view.width / 2) / geometry.width * width
    span = size_of(view, geometry)[1] / geometry.width * width
    x = ((columns.double() + 0.5 - start) % width) / span * 2 - 1
    y = (torch.arange(*rows, dtype=torch.float64) + 0.5) / height * 2 - 1
    weight = torch.ones(width, dtype=torch.float64) if view.width >= 360 else sphere.hann(x.abs(), 1.0)
    weight = torch.where(x < 1, weight, 0)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return columns, x, y, weight.expand(x.shape)


def _tangent_positions(
    view: Tangent, geometry: Geometry, size: tuple[int, int], rows: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `_crop_positions`."""
    pitches = geometry.pitch_of_rows(size[0])[slice(*rows)]
    yaw = (torch.arange(size[1], dtype=torch.float64) + 0.5) / size[1] * 360 - 180
    reach = sphere.widest_yaw(pitches, view.pitch, view.fov / 2)
    columns = (((yaw - view.yaw + 180) % 360 - 180).abs() <= reach).nonzero()[:, 0]
    pitch, yaw = torch.meshgrid(torch.from_numpy(pitches), yaw[columns], indexing="ij")
    x, y, angle = sphere.tangent_position(sphere.direction_of(yaw, pitch), view.yaw, view.pitch, view.fov)
    return columns, x, y, torch.where((x.abs() < 1) & (y.abs() < 1), sphere.hann(angle, view.fov / 2), 0)


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
        self._ended = False

    def add(self, view: View, values: Tensor) -> None:
        """Add what a view says: float (D, h, w) in the view's frame, of any size, probabilities or features.

        Raises:
            ValueError: the result was taken already.
        """
        if self._ended:
            raise ValueError("the result was taken already")
        values, width = values.cpu(), self.size[1]
        same_pixels = self.size == (self.geometry.height, self.geometry.width) and isinstance(view, Crop)
        same_pixels &= tuple(values.shape[1:]) == size_of(view, self.geometry)
        for top, bottom in bands(self.size):
            foot = footprint(view, self.geometry, self.size, (top, bottom))
            # Where pixel centres coincide, exact: no interpolation.
            seen = values.flatten(1).T[foot.nearest].float() if same_pixels else sample(values, foot)
            self._sum[top * width : bottom * width].index_add_(0, foot.index, seen * foot.weight[:, None])
            self._weight[top * width : bottom * width].index_add_(0, foot.index, foot.weight)

    def result(self) -> Tensor:
        """The merged values, float32 (D, H, W); ends the merging, since sums become means where they lie.

        Raises:
            ValueError: some pixel was seen by no view, or this is not the first time.
        """
        if self._ended:
            raise ValueError("the result was taken already")

        if not bool((self._weight > 0).all()):
            raise ValueError("the views do not cover the panorama; add more views before merging")
        self._ended = True
        return self._sum.div_(self._weight[:, None]).T.reshape(-1, *self.size)


def view_weights(views: Sequence[View], geometry: Geometry, size: tuple[int, int] | None = None) -> Tensor:
    """Normalised weights r_k(x) of all views, float32 (K, H, W); 0 where view k does not see x, 1 summed over views."""
    size = size or (geometry.height, geometry.width)
    weights = torch.zeros(len(views), size[0] * size[1])
    for weight, view in zip(weights, views, strict=True):
        foot = footprint(view, geometry, size)
        weight[foot.index] = foot.weight
    return (weights / weights.sum(0)).reshape(len(views), *size)
