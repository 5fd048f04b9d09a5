"""The camera car: what is in the same place in many panoramas, found without labels.

Not from the paper; our choice throughout. A car, a roof, a tripod or a logo at the lower edge shows the same outline in
every photo, whatever stands around it; road, grass and sky vary little in colour but have no outline that stays. So
edges are counted, pixel by pixel, over the photos of one mount, and the upper end of the mount is the line around the
panorama along which edges are most frequent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from skimage.graph import route_through_array

from goodsam import files
from goodsam.errors import UnreadableImageError
from goodsam.images import read_label_map, read_photo
from goodsam.panorama import Panorama

WIDTH = 1024
"""Width at which panoramas are looked at, pixels."""
LOWER = 0.5
"""Share of the height, from below, in which a mount is looked for."""
MOST = 200
"""Panoramas that are looked at, evenly spaced."""
FEWEST = 6
"""Panoramas of one mount below which nothing is said: what three photos share may be the street."""
SEED = 4
"""Photos whose edges are alike that a search for a mount begins with."""
EDGES = 0.15
"""Share of the pixels of each row that count as edges: those of the steepest change."""
ALIKE = 0.25
"""Correlation of the edges of two photos' lower parts from which they are of one mount."""
FREQUENT = 0.5
"""Mean share of the photos that must have an edge along a mount's outline: in the open road it is about `EDGES`."""
OFTEN = 0.35
"""The same for a second outline above the first, of many photos; of n photos 1 / (2 sqrt(n)) more, since with few some
way through the street is frequent by chance."""
ENOUGH = 12
"""Photos from which a second outline is looked for at all."""
THICK = 4
"""Pixels at `WIDTH` that an outline is thick."""
PRESENT = 0.35
"""Share of a mount's outline on which a photo must have edges to be one of the mount's: by chance it has `EDGES`."""
BETWEEN = 0.3
"""Share of a mount's outline from which a photo that is not one of its own is not clearly of another mount either."""
DOUBT = 0.25
"""Photos between `BETWEEN` and `FREQUENT`, beside those of a mount, above which it is none: a car is in a photo or it
is not, while kerbs and lane lines lie more or less alike, and the more photos there are, the more are so by chance."""
BEYOND = 0.2
"""How far above the first outline a second is looked for, share of the part that is looked at."""


@dataclass(frozen=True, eq=False)
class Mount:
    """One camera car, as it stands in every photo that it took."""

    mask: np.ndarray
    """bool (H, W): what belongs to it."""
    photos: int
    """How many photos it was found in."""

    def rim(self) -> np.ndarray:
        """Its outline where edges are looked for: bool (h, w), as of `edges`."""
        height, width = self.mask.shape
        small = Image.fromarray(self.mask).resize(_small((height, width))[::-1], Image.Resampling.NEAREST)
        lower = np.asarray(small)[-_lower(small.height) :]
        return lower & ~ndimage.binary_erosion(lower, border_value=1)


def find_mounts(paths: Sequence[Path]) -> list[Mount]:
    """Group panoramas by mount and find what of each group's pictures is the mount.

    Panoramas of different sizes are never of one group; what cannot be read is left out. Memory depends on `MOST`, not
    on the number of panoramas.

    Args:
        paths: of the panoramas, in a fixed order.
    """
    sizes: dict[tuple[int, int], list[np.ndarray]] = {}
    for path in sampled(paths):
        try:
            pixels = read_photo(path)
        except UnreadableImageError:
            continue
        sizes.setdefault((pixels.shape[0], pixels.shape[1]), []).append(edges(pixels))
    return [mount for size, found in sorted(sizes.items()) for mount in _of_one_size(np.stack(found), size)]


def sampled(paths: Sequence[Path]) -> list[Path]:
    """At most `MOST` of them, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(MOST, len(paths))).round().astype(int))
    return [paths[number] for number in chosen]


def _of_one_size(found: np.ndarray, size: tuple[int, int]) -> list[Mount]:
    """The mounts of panoramas of one size (H, W), by their edges: bool (N, h, w)."""
    if len(found) < FEWEST:
        return []
    mounts = []
    left = np.ones(len(found), dtype=bool)
    groups = group(found)
    for number in np.argsort(-np.bincount(groups), kind="stable"):
        own = (groups == number) & left
        if own.sum() < SEED:
            continue
        # The outline that a few very similar photos show finds the others that share it, and they make it sharper.
        mask = outline(found[own].mean(0), int(own.sum()))
        own = left & (_present(found, mask) >= FREQUENT)
        if own.sum() < FEWEST:
            continue
        mask = outline(found[own].mean(0), int(own.sum()))
        if mask.any() and _doubt(found[left], mask) <= DOUBT:
            mounts.append(Mount(enlarged(mask, size), int(own.sum())))
            left &= ~own
    return mounts


def _present(found: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share of a mask's outline on which each photo has edges: bool (N, h, w) and (h, w) -> float (N,)."""
    rim = mask & ~ndimage.binary_erosion(mask, border_value=1)
    return found[:, rim].mean(1) if rim.any() else np.zeros(len(found))


def _doubt(found: np.ndarray, mask: np.ndarray) -> float:
    """How many photos a mask's outline half fits, per photo that it fits: bool (N, h, w) and (h, w)."""
    share = _present(found, mask)
    return float(((share >= BETWEEN) & (share < FREQUENT)).sum() / max(1, (share >= FREQUENT).sum()))


def mount_of(pixels: np.ndarray, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that took a panorama, uint8 (H, W, 3): the one along whose outline it has most edges, if enough."""
    own = [mount for mount in mounts if mount.mask.shape == pixels.shape[:2]]
    if not own:
        return None
    found = edges(pixels)
    share = [float(found[mount.rim()].mean()) for mount in own]
    best = int(np.argmax(share))
    return own[best] if share[best] >= PRESENT else None


def hidden(panorama: Panorama, mask: np.ndarray) -> Panorama:
    """The panorama with the mount, and a little around it, in the mean colour of what lies around that.

    An assistant has never seen a bonnet from above: it calls it a car, and takes the road around it along. Of an even
    patch it says what it says of the road beside it.

    Args:
        panorama: as it is.
        mask: bool (H, W), of the mount.
    """
    if not mask.any():
        return panorama
    step = max(1, round(panorama.geometry.width / 2048 * 3))
    patch = _grown(mask, step)
    ring = _grown(patch, 4 * step) & ~patch
    pixels = panorama.pixels.copy()
    if ring.any():
        pixels[patch] = pixels[ring].mean(0).round().astype(np.uint8)
    return Panorama(pixels, panorama.geometry)


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """bool (H, W) grown by so many pixels; columns wrap."""
    wide = np.pad(mask, ((0, 0), (pixels, pixels)), mode="wrap")
    return ndimage.binary_dilation(wide, iterations=pixels)[:, pixels:-pixels]


def write_mounts(folder: Path, mounts: Sequence[Mount], panoramas: int) -> None:
    """Write `mount0.png`, ... (white is the car) and `mounts.json`, which says how many panoramas there were."""
    with files.whole_folder(folder) as new:
        for number, mount in enumerate(mounts):
            files.write_image(new / f"mount{number}.png", mount.mask.astype(np.uint8) * 255)
        files.write_json(new / "mounts.json", {"panoramas": panoramas, "photos": [mount.photos for mount in mounts]})


def read_mounts(folder: Path) -> tuple[list[Mount], int]:
    """What `write_mounts` wrote."""
    known = files.read_json(folder / "mounts.json")
    masks = [read_label_map(folder / f"mount{number}.png") > 0 for number in range(len(known["photos"]))]
    return [Mount(mask, photos) for mask, photos in zip(masks, known["photos"], strict=True)], known["panoramas"]


def edges(pixels: np.ndarray) -> np.ndarray:
    """Where brightness changes most, row by row: bool (h, w) of the lower part, w at most `WIDTH`.

    A share of each row, not a threshold, so that neither exposure nor the stretch towards the pole decides.

    Args:
        pixels: uint8 (H, W, 3).
    """
    height, width = _small((pixels.shape[0], pixels.shape[1]))
    small = Image.fromarray(pixels).convert("L").resize((width, height), Image.Resampling.BOX)
    grey = ndimage.gaussian_filter(np.asarray(small, dtype=np.float32), 1.0, mode=("nearest", "wrap"))
    slope = np.hypot(*np.gradient(np.pad(grey, ((0, 0), (1, 1)), mode="wrap")))[:, 1:-1]
    slope = slope[-_lower(height) :]
    return slope > np.quantile(slope, 1 - EDGES, axis=1, keepdims=True)


def _small(size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) -> the size at which a panorama is looked at."""
    width = min(WIDTH, size[1])
    return max(4, round(size[0] * width / size[1])), width


def _lower(height: int) -> int:
    return max(2, round(LOWER * height))


def group(edges: np.ndarray) -> np.ndarray:
    """Which mount each photo is of, by the edges of its lowest part: bool (N, h, w) -> int (N,)."""
    number, height, _ = edges.shape
    # A quarter of the panorama's height, and wide edges: bodies roll and brackets shake by a pixel or two.
    low = [
        ndimage.gaussian_filter(item[height // 2 :].astype(np.float32), 1.5, mode=("nearest", "wrap")) for item in edges
    ]
    flat = np.stack(low).reshape(number, -1)
    flat = flat - flat.mean(0) * (1 / number) - flat.mean(1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    apart = np.clip(1 - flat @ flat.T, 0, 2)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), method="average")
    return fcluster(tree, 1 - ALIKE, criterion="distance")


def outline(frequency: np.ndarray, photos: int) -> np.ndarray:
    """What lies below the most frequent edges: float (h, w), 0..1 -> bool (h, w), all False without an outline.

    The shortest way from the left to the right edge of the panorama, which is one place, where a step costs little on
    frequent edges, and a fixed price along the lower edge: a mount is where the way leaves the lower edge.

    Args:
        frequency: share of the photos that have an edge there.
        photos: how many there are.
    """
    height, width = frequency.shape
    often = OFTEN + 0.5 / photos**0.5
    cost = np.clip(1 - frequency, 0.02, 1)
    floor = np.full((1, width), 1 - FREQUENT)
    top = _way(np.concatenate([cost, floor], axis=0))
    rows = np.arange(height)[:, None]
    if photos < ENOUGH:
        return _worth(rows >= top[None], frequency)
    # A window's rim may be steeper than the bonnet's end behind it. So the way may leave the line that it has found
    # for another above it, near by, that most photos share, as it left the lower edge; the line itself is now as dear
    # as the lower edge was.
    allowed = (rows < top) & (rows >= top - BEYOND * height) & (top < height)
    near = allowed & (rows >= top - THICK)
    cost = np.where(near, 1 - often, np.where(allowed, cost, 1e3))
    field = np.concatenate([cost, np.full((1, width), 1e3)], axis=0)
    field[top, np.arange(width)] = 1 - often
    for column in np.flatnonzero(top != np.roll(top, -1)):  # where the line climbs, it is as passable as where it runs
        low, high = sorted((top[column], top[(column + 1) % width]))
        field[low : high + 1, column] = np.minimum(field[low : high + 1, column], 1 - often)
    higher = _way(field)
    top = np.where(higher < top - THICK, higher, top)
    return _worth(rows >= top[None], frequency)


def _way(cost: np.ndarray) -> np.ndarray:
    """The cheapest way around: costs (h, w), columns wrapping -> the highest row that it has in each column, (w,)."""
    height, width = cost.shape
    tiled = np.tile(cost, (1, 3))  # beginning and end of the way lie a whole turn beyond what is taken of it
    begin, end = (int(tiled[:, column].argmin()) for column in (0, -1))
    way, _ = route_through_array(tiled, (begin, 0), (end, 3 * width - 1), fully_connected=True, geometric=True)
    rows, columns = np.array(way).T
    top = np.full(3 * width, height - 1)
    np.minimum.at(top, columns, rows)
    return top[width : 2 * width]


def _worth(mask: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Parts of the mask that are more than a few pixels high, and whose outline is frequent: bool (h, w)."""
    near = ndimage.maximum_filter(frequency, 3, mode=("nearest", "wrap"))
    kept = np.zeros_like(mask)
    wide = np.concatenate([mask, mask], axis=1)  # a part that crosses the seam is whole in the middle
    parts, number = ndimage.label(wide)
    for part in range(1, number + 1):
        inside = parts == part
        if inside.any(1).sum() < 0.02 * len(mask):
            continue
        rim = inside & ~ndimage.binary_erosion(inside, border_value=1)
        if np.concatenate([near, near], axis=1)[rim].mean() >= FREQUENT:
            kept |= inside[:, : mask.shape[1]] | inside[:, mask.shape[1] :]
    return kept & mask


def enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of the lower part at the size (H, W) of the panorama: bool (H, W)."""
    height, width = size
    small_height = _small(size)[0]
    whole = np.zeros((small_height, mask.shape[1]), dtype=np.float32)
    whole[-len(mask) :] = mask
    zoomed = Image.fromarray(np.pad(whole, ((0, 0), (1, 1)), mode="wrap")).resize(
        (width, height), Image.Resampling.BILINEAR, box=(1, 0, mask.shape[1] + 1, small_height)
    )
    return np.asarray(zoomed) >= 0.5
