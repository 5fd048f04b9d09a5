"""Panoramas labelled in bands of rows: the same bytes as labelled at once, and P at a smaller size near it."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from looking import random_masks
from PIL import Image
from scipy.sparse import hstack

from goodsam import pipeline, views
from goodsam.cache import cached
from goodsam.config import FusionOptions, run_options
from goodsam.dar.atoms import atoms_of
from goodsam.dar.fusion import fuse
from goodsam.dar.merging import Joiner, merge_masks
from goodsam.labelling import Seen, fuse_bands
from goodsam.masks import masks_from_arrays
from goodsam.merged import MergedViews, merged_size
from goodsam.panorama import Geometry, Panorama, geometry_of
from goodsam.targets import compress
from goodsam.views import Crop, View, bands, cut, cut_labels, footprint, lay_views, size_of

SIZES = {"crops": (27, 128), "tangent": (41, 82)}
"""Odd numbers of rows, so that the last band is a smaller one."""


def said_of(geometry: Geometry, kind: str, most: int | None = None) -> MergedViews:
    """Random probabilities of 5 classes, 9x9 for each view."""
    merged = MergedViews(geometry, 5, most)
    generator = torch.Generator().manual_seed(0)
    for view in lay_views(geometry, kind):
        size = size_of(view, geometry) if isinstance(view, Crop) else (9, 9)
        merged.add(view, (2 * torch.randn(5, *size, generator=generator)).softmax(0))
    merged.mean()
    return merged


def masks_of(geometry: Geometry, kind: str) -> Seen:
    """Rectangles as every view sees them, and some of its own."""
    random = np.random.default_rng(0)
    ids = np.zeros((geometry.height, geometry.width), dtype=np.uint8)
    for number in range(1, 9):
        top, left = random.integers(0, geometry.height - 8), random.integers(0, geometry.width)
        ids[top : top + 12, (left + np.arange(20)) % geometry.width] = number
    seen = []
    for view in lay_views(geometry, kind):
        here = cut_labels(ids, geometry, view, ignore=0)
        arrays = here[None] == np.unique(here[here > 0])[:, None, None]
        own = random_masks(here.shape, 3, random)
        seen.append((view, masks_from_arrays(np.concatenate([arrays, own.to_arrays()]))))
    return seen


@pytest.mark.parametrize("pixels", [1, 82 * 3, 128 * 9, 82 * 13])
@pytest.mark.parametrize("kind", ["crops", "tangent"])
def test_bands_give_the_bytes_of_the_whole(kind: str, pixels: int) -> None:
    geometry = geometry_of(SIZES[kind])
    merged, seen = said_of(geometry, kind), masks_of(geometry, kind)
    assert len(list(bands(SIZES[kind], pixels))) > 1
    valid = np.random.default_rng(1).random(SIZES[kind]) < 0.9
    found = fuse_bands(merged, seen, valid, FusionOptions(), pixels)
    whole = merged.band((0, geometry.height))
    expected = fuse(whole, merge_masks(seen, geometry), FusionOptions())
    assert float((expected - whole).abs().max()) > 0.1
    for stored, probabilities in ((found.merged, whole), (found.ensemble, expected)):
        for name, array in zip(("classes", "probs"), compress(probabilities, valid), strict=True):
            np.testing.assert_array_equal(stored[name], array)
    confidence, labels = expected.max(0)
    np.testing.assert_array_equal(found.labels, np.where(valid, labels, 255))
    np.testing.assert_array_equal(found.confidence, np.where(valid, (confidence * 255).round(), 0))


@pytest.mark.parametrize("kind", ["crops", "tangent"])
def test_masks_of_bands_are_those_of_the_panorama(kind: str) -> None:
    geometry = geometry_of(SIZES[kind])
    seen = masks_of(geometry, kind)
    whole, joiner = merge_masks(seen, geometry), Joiner(seen, geometry, 300)
    parts = [joiner.band(rows) for rows in bands(SIZES[kind], 300)]
    joined = hstack([part.member for part in parts]).toarray()
    np.testing.assert_array_equal(joined, whole.member.toarray())
    np.testing.assert_array_equal(sum(part.areas for part in parts), whole.areas)
    assert all(part.origins == whole.origins for part in parts)
    assert any(len(origin) > 1 for origin in whole.origins)


def test_bands_have_even_heights_and_cover_the_panorama() -> None:
    assert list(bands((7, 10), 30)) == [(0, 4), (4, 7)]
    assert list(bands((7, 10), 1)) == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert list(bands((400, 2048))) == [(0, 400)]


@pytest.mark.parametrize("kind", ["crops", "tangent"])
@pytest.mark.parametrize("size", [None, (13, 30)])
def test_footprints_of_bands_are_those_of_the_whole(kind: str, size: tuple[int, int] | None) -> None:
    geometry = geometry_of(SIZES[kind], vfov=130)
    size = size or SIZES[kind]
    for view in lay_views(geometry, kind):
        whole = footprint(view, geometry, size)
        parts = [(rows[0] * size[1], footprint(view, geometry, size, rows)) for rows in bands(size, 1)]
        assert torch.equal(torch.cat([first + part.index for first, part in parts]), whole.index)
        for name in ("nearest", "position", "weight"):
            assert torch.equal(torch.cat([getattr(part, name) for _, part in parts]), getattr(whole, name))


def test_atoms_hold_the_masks_of_every_pixel() -> None:
    masks = random_masks((13, 17), 6, np.random.default_rng(2))
    atoms = atoms_of(masks)
    found = atoms.table.toarray()[atoms.numbers].T.reshape(-1, 13, 17)
    np.testing.assert_array_equal(found, masks.to_arrays())
    assert len(np.unique(atoms.table.toarray(), axis=0)) == len(atoms)
    none = atoms_of(masks_from_arrays(np.zeros((0, 4, 5), dtype=bool)))
    assert (none.numbers == 0).all()
    assert none.table.shape == (1, 0)


def test_a_run_leaves_the_same_bytes_whatever_the_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, model = tiny.write_panoramas(tmp_path / "photos", 1), tiny.write_assistant(tmp_path / "assistant.onnx")
    Image.fromarray(tiny.panorama(1, (64, 128))).save(photos / "sphere.png")
    options = run_options(sam="regions", assistant=str(model), device="cpu")
    folders = ("labels", "confidence", "assistant_probs", "ensemble")
    trees = []
    for name, pixels in (("one", views.BAND), ("many", 1000)):
        monkeypatch.setattr(views, "BAND", pixels)
        run = pipeline.distill(photos, tmp_path / name, options, ("masks", "label"))
        trees.append(tiny.tree(run.root, *folders))
    assert len(trees[0]) == 2 * len(folders)
    assert trees[0] == trees[1]


@pytest.mark.parametrize("view", [*lay_views(geometry_of((64, 128)))[9:11], *lay_views(geometry_of((64, 128)))[24:]])
def test_views_are_cut_in_bands(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a level: positions within fewer rows are rounded elsewhere."""
    panorama = Panorama(tiny.panorama(0, (64, 128)), geometry_of((64, 128)))
    expected, labels = cut(panorama, view), cut_labels(panorama.pixels[..., 0], panorama.geometry, view)
    monkeypatch.setattr(views, "BAND", 200)
    assert np.abs(cut(panorama, view).astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(cut_labels(panorama.pixels[..., 0], panorama.geometry, view), labels)


@pytest.mark.parametrize("kind", ["crops", "tangent"])
def test_p_at_half_size_is_near_p(kind: str) -> None:
    geometry = geometry_of((64, 256) if kind == "crops" else (128, 256))
    small, full = MergedViews(geometry, 4, 4 * 4 * 64 * 128), MergedViews(geometry, 4)
    generator = torch.Generator().manual_seed(0)
    for view in lay_views(geometry, kind):
        size = [-(-side // 8) for side in size_of(view, geometry)]  # smooth: segmenters speak at a quarter
        said = torch.nn.functional.interpolate(
            torch.randn(1, 4, *size, generator=generator), size_of(view, geometry), mode="bilinear"
        )[0].softmax(0)
        small.add(view, said)
        full.add(view, said)
    small.mean()
    full.mean()
    assert small.size == (geometry.height // 2, 128)
    found, expected = (torch.cat([part for _, part in merged.bands(2000)], 1) for merged in (small, full))
    assert found.shape == expected.shape
    torch.testing.assert_close(found.sum(0), torch.ones(found.shape[1:]))
    assert float((found - expected).abs().mean()) < 0.006
    assert float((found.argmax(0) == expected.argmax(0)).float().mean()) > 0.97


def test_small_panoramas_keep_p_at_their_own_size() -> None:
    assert merged_size(geometry_of((400, 2048)), 19) == (400, 2048)
    assert merged_size(geometry_of((2048, 4096)), 19) == (2048, 4096)
    assert merged_size(geometry_of((5000, 10000)), 19) == (1667, 3334)
    assert merged_size(geometry_of((5, 11)), 2, 1) == (1, 1)


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    calls = []

    @cached(10, len)
    def named(size: int) -> str:
        calls.append(size)
        return "x" * size

    assert [named(4), named(5), named(4)] == ["xxxx", "xxxxx", "xxxx"]
    named(3)  # 5 goes
    named(4)
    assert calls == [4, 5, 3]
    named(5)
    named(11)  # too large to be kept
    named(5)
    named(11)
    assert calls == [4, 5, 3, 5, 11, 11]
