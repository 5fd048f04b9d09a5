"""Rare classes: frequencies, weights and places, against counting."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from goodsam import targets
from goodsam.mka.balance import class_frequencies, class_weights, rare_place, rarity
from goodsam.run import Input, Run


def test_frequencies_are_shares_of_what_shows_a_scene(tmp_path: Path) -> None:
    run = Run(tmp_path)
    generator = torch.Generator().manual_seed(0)
    counted: Counter[int] = Counter()
    for stem in ("a", "b", "c"):
        probabilities = (3 * torch.randn(5, 8, 12, generator=generator)).softmax(0)
        probabilities[3] = 0  # never the largest
        valid = np.ones((8, 12), dtype=bool)
        valid[4:, :6] = False
        targets.write_probabilities(run.file("ensemble", stem), probabilities, valid)
        pooled = probabilities.unflatten(1, (4, 2)).unflatten(3, (6, 2)).mean((2, 4))
        for row in range(4):
            for column in range(6):
                if row < 2 or column >= 3:
                    counted[int(pooled[:, row, column].argmax())] += 1
    found = class_frequencies(run, [Input(stem, tmp_path, "") for stem in ("a", "b", "c")], 5)
    assert found.tolist() == pytest.approx([counted[c] / counted.total() for c in range(5)])
    assert found[3] == 0


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_pixel_weighs_one_on_average_and_rare_classes_more(exponent: float) -> None:
    frequencies = np.array([0.64, 0.32, 0.04, 0.0])
    weights = class_weights(frequencies, exponent).numpy()
    assert (frequencies * weights).sum() == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx(16**exponent)
    assert weights[3] == 0


def test_places_are_drawn_by_rarity_and_uniform_in_their_class() -> None:
    labels = torch.zeros(8, 16, dtype=torch.uint8)
    labels[0, :4] = 1
    labels[7, 15] = 255
    labels[4:6, 6:8] = 2
    rare = np.array([1.0, 3.0, 1.0, 100.0])  # class 3 is not here
    generator = torch.Generator().manual_seed(0)
    classes: Counter[int] = Counter()
    pixels: Counter[tuple[int, int]] = Counter()
    for _ in range(2000):
        place = rare_place(labels, rare, generator)
        assert place is not None
        row, column = place[0] * 8 - 0.5, place[1] * 16 - 0.5
        assert (row % 1, column % 1) == (0, 0)
        chosen = int(labels[int(row), int(column)])
        classes[chosen] += 1
        if chosen == 1:
            pixels[int(row), int(column)] += 1
    assert classes[1] / 2000 == pytest.approx(0.6, abs=0.04)
    assert classes[0] / 2000 == pytest.approx(0.2, abs=0.04)
    assert classes[255] == 0
    assert all(pixels[0, column] / classes[1] == pytest.approx(0.25, abs=0.05) for column in range(4))


def test_nothing_labelled_has_no_place() -> None:
    assert rare_place(torch.full((4, 4), 255, dtype=torch.uint8), np.ones(3), torch.Generator()) is None
    assert rare_place(torch.zeros((4, 4), dtype=torch.uint8), np.array([0.0, 1.0]), torch.Generator()) is None


def test_rarity_of_a_class_that_does_not_occur_is_zero() -> None:
    assert rarity(np.array([0.25, 0.0, 0.75])).tolist() == pytest.approx([2.0, 0.0, 0.75**-0.5])
