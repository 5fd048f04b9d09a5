"""Masks of views joined on the panorama, against sets of pixels that follow the docstrings."""

import numpy as np
import pytest
from looking import random_masks, seen_by

from goodsam.dar import merging
from goodsam.dar.merging import MergedMasks, merge_masks
from goodsam.masks import Masks, masks_from_arrays
from goodsam.panorama import Geometry, geometry_of
from goodsam.views import Crop, Tangent, View, cut_labels, lay_views, size_of

Seen = list[tuple[View, Masks]]
Pixels = dict[tuple[int, int], float]


def slow_merge(views: Seen, geometry: Geometry) -> dict[frozenset[tuple[int, int]], tuple[Pixels, float]]:
    """(view, number) of the parts -> trust by pixel, and score."""
    places = [(r, c) for r in range(geometry.height) for c in range(geometry.width)]
    weight: list[Pixels] = []
    parts: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for k, (view, masks) in enumerate(views):
        found = {place: seen_by(view, geometry, *place) for place in places}
        weight.append({place: here[0] for place, here in found.items() if here})
        for n, array in enumerate(masks.to_arrays()):
            parts[k, n] = {place for place, here in found.items() if here and array[here[1], here[2]]}
    group = {part: {part} for part in parts}
    for a in range(len(views)):
        for b in range(a):
            common = set(weight[a]) & set(weight[b])
            inside = {part: parts[part] & common for part in parts if part[0] in (a, b)}
            inside = {part: pixels for part, pixels in inside.items() if len(pixels) >= merging.SEEN}
            mine, other = ([part for part in inside if part[0] == k] for k in (a, b))
            if not (mine and other):
                continue
            iou = {(p, q): len(inside[p] & inside[q]) / len(inside[p] | inside[q]) for p in mine for q in other}
            for p in mine:
                q = max(other, key=lambda q: (iou[p, q], -q[1]))
                if p == max(mine, key=lambda p: (iou[p, q], -p[1])) and iou[p, q] > merging.SAME:
                    joined = group[p] | group[q]
                    for part in joined:
                        group[part] = joined
    result = {}
    for joined in {frozenset(members) for members in group.values()}:
        trust: Pixels = {}
        of_views = {k for k, _ in joined}
        for place in places:
            seen = sum(weight[k].get(place, 0) for k in of_views)
            said = sum(weight[k][place] for k in of_views if any(place in parts[p] for p in joined if p[0] == k))
            if said > 0 and said >= 0.5 * seen - 1e-9:
                trust[place] = min(1, seen / max(weights.get(place, 0) for weights in weight))
        scores = [(views[k][1].ious[n] or 1) * (views[k][1].stabilities[n] or 1) for k, n in joined]
        result[joined] = (trust, sum(scores) / len(scores))
    return result


def as_dictionary(found: MergedMasks, width: int) -> dict[frozenset[tuple[int, int]], tuple[Pixels, float]]:
    result = {}
    for n, origin in enumerate(found.origins):
        part = slice(found.member.indptr[n], found.member.indptr[n + 1])
        places = [divmod(int(i), width) for i in found.member.indices[part]]
        trust = dict(zip(places, found.member.data[part].tolist(), strict=True))
        result[frozenset(origin)] = (trust, float(found.scores[n]))
    return result


def things(geometry: Geometry, views: tuple[View, ...], seed: int) -> Seen:
    """Masks of rectangles on the panorama as each view sees them, a little of each left out, and one of its own."""
    random = np.random.default_rng(seed)
    ids = np.zeros((geometry.height, geometry.width), dtype=np.uint8)
    for number in range(1, 7):
        top, left = random.integers(0, geometry.height - 3), random.integers(0, geometry.width)
        columns = np.arange(left, left + random.integers(6, 20)) % geometry.width
        ids[top : top + random.integers(4, 9), columns] = number
    result: Seen = []
    for view in views:
        seen = cut_labels(ids, geometry, view, ignore=0)
        masks = (seen[None] == np.unique(seen[seen > 0])[:, None, None]) & (random.random(seen.shape) < 0.9)
        own = random_masks(size_of(view, geometry), 2, random)
        arrays = np.concatenate([masks, own.to_arrays()])
        scores = random.uniform(0.5, 1, len(arrays)).tolist()
        result.append((view, masks_from_arrays(arrays[arrays.any((1, 2))], scores[: int(arrays.any((1, 2)).sum())])))
    return result


def assert_joined(seen: Seen, geometry: Geometry, most: int) -> None:
    """Joined as the sets are, some of more than `most` parts."""
    found, expected = as_dictionary(merge_masks(seen, geometry), geometry.width), slow_merge(seen, geometry)
    assert any(len(joined) > most for joined in expected)
    assert found.keys() == expected.keys()
    for joined, (trust, score) in expected.items():
        assert found[joined][0] == pytest.approx(trust, abs=1e-5)
        assert found[joined][1] == pytest.approx(score)


@pytest.mark.parametrize("seed", range(3))
def test_crops_join_as_sets_of_pixels_do(seed: int) -> None:
    geometry = geometry_of((12, 64))
    assert_joined(things(geometry, lay_views(geometry), seed), geometry, 2)


def test_tangent_views_join_as_sets_of_pixels_do() -> None:
    geometry = geometry_of((28, 56))
    views = (*lay_views(geometry, "tangent")[9:13], Tangent(173.0, 11.0, 90.0), Tangent(0.0, 90.0, 90.0))
    assert_joined(things(geometry, views, 0), geometry, 1)


def test_a_car_cut_by_the_seam_is_one_mask() -> None:
    geometry = geometry_of((12, 64))
    ids = np.zeros((12, 64), dtype=np.uint8)
    ids[5:11, [*range(58, 64), *range(5)]] = 1
    seen: Seen = []
    for view in lay_views(geometry):
        mask = cut_labels(ids, geometry, view, ignore=0)[None] > 0
        seen.append((view, masks_from_arrays(mask[mask.any((1, 2))])))
    found = merge_masks(seen, geometry)
    assert len(found.areas) == 1
    assert found.areas[0] == ids.sum()
    np.testing.assert_array_equal(found.member.toarray().reshape(12, 64) > 0, ids > 0)
    np.testing.assert_allclose(found.member.data, 1)


def test_a_mask_of_one_view_fades_towards_its_border() -> None:
    geometry = geometry_of((8, 64))
    views = lay_views(geometry)
    none, full = masks_from_arrays(np.zeros((0, 8, 16), bool)), masks_from_arrays(np.ones((1, 8, 16), bool))
    found = merge_masks([(view, full if k == 4 else none) for k, view in enumerate(views)], geometry)
    trust = found.member.toarray().reshape(8, 64)[3]
    assert (trust[:24] == 0).all()
    assert (trust[40:] == 0).all()
    np.testing.assert_allclose(trust[28:36], 1)  # this view sees them best
    assert (np.diff(trust[24:29]) > 0).all()
    assert (np.diff(trust[35:40]) < 0).all()


def test_where_two_views_disagree_the_one_that_sees_best_decides() -> None:
    geometry = geometry_of((8, 64))
    left, right = Crop(-22.5, 90.0), Crop(22.5, 90.0)
    long, short = np.zeros((1, 8, 16), bool), np.zeros((1, 8, 16), bool)
    long[0, :, 6:16] = True  # from column 26 of the panorama to the view's end
    short[0, :, 0:4] = True  # from column 28 to 31
    found = merge_masks([(left, masks_from_arrays(long)), (right, masks_from_arrays(short))], geometry)
    assert len(found.areas) == 2  # 4 of the 8 columns that both see are no more than `SAME`
    short[0, :, 0:5] = True
    found = merge_masks([(left, masks_from_arrays(long)), (right, masks_from_arrays(short))], geometry)
    assert len(found.areas) == 1
    # What the right view alone does not take into the mask it sees better than the left one does.
    columns = np.flatnonzero(found.member.toarray().reshape(8, 64)[0])
    assert columns.tolist() == list(range(26, 33))


def test_no_masks_are_none() -> None:
    geometry = geometry_of((8, 64))
    none = masks_from_arrays(np.zeros((0, 8, 16), bool))
    found = merge_masks([(view, none) for view in lay_views(geometry)], geometry)
    assert found.member.shape == (0, 8 * 64)
    assert len(found.areas) == len(found.scores) == len(found.origins) == 0
