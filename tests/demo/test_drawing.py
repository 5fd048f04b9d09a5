"""Curve and pictures of the demo's page."""

import re

import numpy as np
import pytest

from goodsam.demo.curve import smoothed, ticks, training_curve
from goodsam.demo.page import change, percent
from goodsam.demo.pictures import label_picture
from goodsam.demo.times import Steps, Times
from goodsam.labels import LABEL_SETS
from goodsam.progress import Silent


@pytest.mark.parametrize(("low", "high"), [(0, 0.23), (0, 1), (1, 80), (1, 2), (0, 7.9), (0, 1e-3)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert low <= min(found)
    assert max(found) <= high
    assert len(np.unique(np.round(np.diff(found), 9))) == 1


def test_the_curve_goes_through_the_losses() -> None:
    losses = [1.0, 0.5, 0.25]
    text = training_curve([0, 1, 2], losses)
    points = re.search(r'class="each" points="([^"]*)"', text)
    assert points is not None
    rows = np.array([[float(value) for value in point.split(",")] for point in points[1].split()])
    assert np.diff(rows[:, 0]).min() > 0
    down = rows[:, 1] - rows[0, 1]
    assert down[2] == pytest.approx(1.5 * down[1], abs=0.1)
    assert "from 1.000 at step 1 to 0.250 at step 3" in text
    assert smoothed([0.0, 1.0] * 20)[20] == pytest.approx(0.5, abs=0.11)
    assert "No training steps" in training_curve([], [])


def test_changes_are_of_the_figures_as_shown() -> None:
    assert percent(0.45678) == "45.7"
    assert change(0.4604, 0.4596) == "\N{PLUS-MINUS SIGN}0.0"
    assert change(0.40, 0.456) == "\N{MINUS SIGN}5.6"
    assert change(None, 0.4) == ""


def test_own_car_is_black_in_every_label_map() -> None:
    label_set = LABEL_SETS["densepass13"]
    labels = np.array([[0, 10]], dtype=np.uint8)
    picture = label_picture(labels, np.array([[255, 2]], dtype=np.uint8), label_set)
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert tuple(picture[0, 1]) == label_set.colors[10]


def test_time_adds_up_over_calls_and_belongs_to_what_it_was_made_with(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "times.json"
    for items in (2, 1, 0):
        steps = Steps(Silent(), Times(path), 1)
        steps.measure("masks", lambda: "a")
        assert len(list(steps.track(range(items), items, "masks"))) == items
    times = Times(path)
    taken = times.taken("masks", "a")
    assert taken is not None
    assert taken.items == 3
    assert times.taken("masks", "b") is None
