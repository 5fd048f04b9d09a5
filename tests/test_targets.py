"""Stored targets, against loops over pixels and numpy's singular values."""

from pathlib import Path

import numpy as np
import pytest
import torch

from goodsam import targets
from goodsam.errors import GoodSAMError


def probabilities(classes: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return (3 * torch.randn(classes, height, width, generator=torch.Generator().manual_seed(seed))).softmax(0)


def blocks(values: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Mean over each 2x2 block; at odd edges over what there is of it."""
    _, height, width = values.shape
    return {
        (row, column): np.mean(
            [values[:, y, x] for y in range(2 * row, min(2 * row + 2, height))
             for x in range(2 * column, min(2 * column + 2, width))],
            axis=0,
        )
        for row in range((height + 1) // 2)
        for column in range((width + 1) // 2)
    }  # fmt: skip


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 3), (2, 9)])
@pytest.mark.parametrize("classes", [2, 3, 7, 19])
def test_three_largest_of_each_block_and_the_rest_spread_evenly(classes: int, size: tuple[int, int]) -> None:
    values = probabilities(classes, *size)
    kept, probs = targets.compress(values)
    half = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    number = min(3, classes)
    assert kept.shape == probs.shape == (number, *half)
    assert kept.dtype == probs.dtype == np.uint8
    dense, valid = targets.StoredProbabilities(torch.from_numpy(kept), torch.from_numpy(probs)).dense(classes)
    assert dense.shape == (classes, *half)
    assert valid.all()
    for (row, column), mean in blocks(values.numpy()).items():
        order = np.argsort(-mean)[:number]
        levels = np.round(mean[order] * 255)
        assert kept[:, row, column].tolist() == order.tolist()
        assert probs[:, row, column].tolist() == levels.tolist()
        expected = np.zeros(classes)
        total = levels.sum() / 255
        expected[order] = levels / 255 / max(1.0, total)
        left = max(0.0, 1 - expected.sum())
        for name in range(classes):
            if name not in order:
                expected[name] = left / (classes - number)
        np.testing.assert_allclose(dense[:, row, column], expected / expected.sum(), atol=1e-6)


def test_dense_is_near_what_was_stored() -> None:
    values = probabilities(19, 8, 8)
    kept, probs = targets.compress(values)
    dense, _ = targets.StoredProbabilities(torch.from_numpy(kept), torch.from_numpy(probs)).dense(19)
    torch.testing.assert_close(dense.sum(0), torch.ones(4, 4))
    for (row, column), mean in blocks(values.numpy()).items():
        largest = np.argsort(-mean)[:3]
        np.testing.assert_allclose(dense[largest, row, column], mean[largest], atol=1 / 255)


def test_a_block_without_any_scene_is_not_valid() -> None:
    valid = np.ones((5, 6), dtype=bool)
    valid[0:2, 0:2] = False  # a whole block
    valid[2, 2] = False  # a part of one
    valid[4, 4:6] = False  # a whole one at the odd edge
    kept, probs = targets.compress(probabilities(4, 5, 6), valid)
    _, seen = targets.StoredProbabilities(torch.from_numpy(kept), torch.from_numpy(probs)).dense(4)
    expected = [
        [any(valid[y, x] for y in range(2 * r, min(2 * r + 2, 5)) for x in (2 * c, 2 * c + 1)) for c in range(3)]
        for r in range(3)
    ]
    assert expected == [[False, True, True], [True, True, True], [True, True, False]]
    assert seen.tolist() == expected
    assert (probs[:, 0, 0] == 0).all()


def test_probabilities_survive_the_disk(tmp_path: Path) -> None:
    values = probabilities(5, 7, 9)
    targets.write_probabilities(tmp_path / "a.npz", values)
    stored = targets.read_probabilities(tmp_path / "a.npz")
    kept, probs = targets.compress(values)
    assert (stored.classes.numpy() == kept).all()
    assert (stored.probs.numpy() == probs).all()
    targets.write_probabilities(tmp_path / "b.npz", values.clone())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(("size", "half"), [((400, 2048), (200, 1024)), ((5, 7), (3, 4)), ((1, 1), (1, 1))])
def test_half_size_rounds_up(size: tuple[int, int], half: tuple[int, int]) -> None:
    assert targets.half_size(size) == half


def test_feature_size_rounds_up() -> None:
    assert targets.feature_size((400, 2048), 3) == (25, 128)
    assert targets.feature_size((401, 2049), 4) == (13, 65)


# --- features -----------------------------------------------------------------------------------------------------


def samples(channels: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator)
    strength = torch.linspace(3, 0.5, channels)[:, None, None]
    return [
        torch.einsum("cd,dhw->chw", mixing, strength * torch.randn(channels, 9, 8 + n, generator=generator)) + 5
        for n in range(3)
    ]


@pytest.mark.parametrize("channels", [6, 80])
def test_projection_is_numpys_singular_vectors(channels: int) -> None:
    maps = samples(channels)
    projection = targets.fit_projection({3: maps})
    rows = np.concatenate([item.numpy().reshape(channels, -1).T for item in maps]).astype(np.float64)
    mean = rows.mean(0)
    _, _, vectors = np.linalg.svd(rows - mean, full_matrices=False)
    kept = min(channels, 64)
    axes = projection.axes[3].numpy()
    assert axes.shape == (channels, kept)
    np.testing.assert_allclose(projection.mean[3], mean, atol=1e-4)
    signs = np.sign((axes * vectors[:kept].T).sum(0))
    np.testing.assert_allclose(axes * signs, vectors[:kept].T, atol=1e-4)
    for axis in axes.T:
        assert axis[np.abs(axis).argmax()] > 0
    found = projection(3, maps[0]).numpy()
    assert found.shape == (kept, 9, 8)
    for row, column in ((0, 0), (8, 7), (4, 2)):
        expected = axes.T @ (maps[0][:, row, column].numpy() - mean)
        np.testing.assert_allclose(found[:, row, column], expected, atol=1e-3)


def test_projection_is_deterministic_and_survives_the_disk(tmp_path: Path) -> None:
    first = targets.fit_projection({3: samples(6), 4: samples(70, seed=1)})
    second = targets.fit_projection({3: samples(6), 4: samples(70, seed=1)})
    first.write(tmp_path / "a.safetensors")
    second.write(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again = targets.read_projection(tmp_path / "a.safetensors")
    assert sorted(again.mean) == sorted(again.axes) == [3, 4]
    for level in (3, 4):
        assert torch.equal(again.mean[level], first.mean[level])
        assert torch.equal(again.axes[level], first.axes[level])


def test_a_damaged_projection_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pca.safetensors"
    targets.fit_projection({3: samples(6)}).write(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(GoodSAMError, match=r"pca\.safetensors: cannot be read .*Delete the features folder"):
        targets.read_projection(path)


def test_features_survive_the_disk_as_float16(tmp_path: Path) -> None:
    features = {3: torch.randn(64, 4, 6), 4: torch.randn(64, 2, 3)}
    targets.write_features(tmp_path / "a.npz", features)
    again = targets.read_features(tmp_path / "a.npz")
    assert sorted(again) == [3, 4]
    for level, value in features.items():
        assert again[level].dtype == torch.float32
        assert torch.equal(again[level], value.half().float())


# --- shrink -------------------------------------------------------------------------------------------------------


def test_shrink_by_whole_factors_is_the_mean_of_what_is_covered() -> None:
    values = torch.randn(2, 6, 12, generator=torch.Generator().manual_seed(0))
    found = targets.shrink(values, (2, 3))
    for row in range(2):
        for column in range(3):
            expected = [
                values[:, y, x].numpy() for y in range(3 * row, 3 * row + 3) for x in range(4 * column, 4 * column + 4)
            ]
            np.testing.assert_allclose(found[:, row, column], np.mean(expected, axis=0), atol=1e-6)


def test_shrink_leaves_the_same_size_alone() -> None:
    values = torch.randn(2, 6, 12)
    assert targets.shrink(values, (6, 12)) is values


def test_shrink_grows_bilinearly() -> None:
    values = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    found = targets.shrink(values, (5, 10))
    for row in range(5):
        for column in range(10):
            y, x = min(max((row + 0.5) * 3 / 5 - 0.5, 0), 2), min(max((column + 0.5) * 4 / 10 - 0.5, 0), 3)
            expected = 0.0
            for r in range(3):
                for c in range(4):
                    expected += max(0, 1 - abs(y - r)) * max(0, 1 - abs(x - c)) * float(values[0, r, c])
            assert float(found[0, row, column]) == pytest.approx(expected, abs=1e-5)


def test_shrink_by_other_factors_keeps_constants_and_the_mean() -> None:
    torch.testing.assert_close(targets.shrink(torch.full((1, 7, 11), 3.0), (3, 4)), torch.full((1, 3, 4), 3.0))
    values = torch.rand(1, 50, 70, generator=torch.Generator().manual_seed(0))
    assert float(targets.shrink(values, (8, 9)).mean()) == pytest.approx(float(values.mean()), abs=0.02)
