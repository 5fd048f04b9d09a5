"""Masks in rounds, with a network that is a function: what is asked, what is kept, when it stops."""

import numpy as np
import pytest
import torch
from torch import Tensor

from goodsam.teachers import prompts
from goodsam.teachers.placing import Hint
from goodsam.teachers.rounds import Found, find_masks, tidied
from goodsam.teachers.sam_options import SamOptions

SIZE = (32, 48)
OPTIONS = SamOptions(points_per_side=8, iou_threshold=0.5, stability_threshold=0.5)


class Tiles:
    """A world of things: the mask of a point is the thing that it lies on, sharp or with a soft edge."""

    def __init__(self, things: np.ndarray, iou: float = 0.9, sharpness: float = 8.0) -> None:
        self.things, self.iou, self.sharpness = things, iou, sharpness
        self.asked: list[int] = []

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        height, width = self.things.shape
        self.asked.append(len(points))
        logits = torch.full((len(points), 3, height, width), -self.sharpness)
        for number, (x, y) in enumerate(points.tolist()):
            thing = self.things == self.things[int(y * height), int(x * width)]
            logits[number, :, torch.from_numpy(thing)] = self.sharpness
        return logits, torch.full((len(points), 3), self.iou)


def world() -> tuple[np.ndarray, Hint]:
    """Two classes; one of them is one thing, the other six things that touch, which the assistant cannot tell apart."""
    things = np.zeros(SIZE, dtype=int)
    for number in range(6):
        things[16:, 8 * number : 8 * number + 8] = number + 1
    labels = (things > 0).astype(np.uint8)
    return things, Hint(labels, np.ones(SIZE, dtype=np.float32))


def test_what_areas_do_not_show_is_found_where_masks_are_missing() -> None:
    things, hint = world()
    network = Tiles(things)
    found, asked = find_masks(network, hint, OPTIONS)
    assert network.asked[0] == 2  # one question for each area
    masks = [(logits > 0).numpy() for logits in found.logits]
    assert len(masks) == 7
    assert {int(np.unique(things[mask])[0]) for mask in masks} == set(range(7))
    assert asked == sum(network.asked) < 8 * 8
    assert found.ious.tolist() == pytest.approx([0.9] * 7)


def test_it_stops_when_a_round_adds_nothing() -> None:
    network = Tiles(np.zeros(SIZE, dtype=int))
    hint = Hint(np.zeros(SIZE, dtype=np.uint8), np.zeros(SIZE, dtype=np.float32))  # unsure everywhere
    found, asked = find_masks(network, hint, OPTIONS)
    assert network.asked == [1, 15]  # the area, then the other cells of the coarse lattice; the fine one is not asked
    assert asked == 16
    assert len(found.ious) == 1


def test_no_question_where_all_is_said() -> None:
    """One class, covered by one good mask, sure: a view of sky needs one prompt."""
    network = Tiles(np.zeros(SIZE, dtype=int))
    _, asked = find_masks(network, Hint(np.zeros(SIZE, dtype=np.uint8), np.ones(SIZE, dtype=np.float32)), OPTIONS)
    assert asked == 1


@pytest.mark.parametrize(("iou", "sharpness"), [(0.4, 8.0), (0.9, 0.5)])
def test_filters_are_on_predicted_iou_and_stability(iou: float, sharpness: float) -> None:
    """At a sharpness of half a logit no pixel is inside under the stricter threshold: stability 0."""
    things, hint = world()
    found, asked = find_masks(Tiles(things, iou, sharpness), hint, OPTIONS)
    assert len(found.ious) == 0
    assert asked > 2


def found_of(masks: np.ndarray) -> Found:
    logits = torch.from_numpy(np.where(masks, 4.0, -4.0)).float()
    number = len(masks)
    return Found(logits, torch.zeros(number, 4), torch.linspace(0.5, 1, number), torch.ones(number))


@pytest.mark.parametrize("smallest", [1.0, 2.0, 5.0, 9.5])
def test_tidying_all_masks_at_once_is_tidying_each(smallest: float) -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((5, 20, 30)) < np.array([0.1, 0.3, 0.5, 0.7, 0.95])[:, None, None]
    masks[4, 3:9, 3:9] = False
    found = tidied(found_of(masks), smallest, 0.0)
    expected = []
    for number, mask in enumerate(masks):
        clean = prompts.remove_small_regions(mask, int(np.ceil(smallest))) if smallest > 1 else mask
        if clean.sum() >= smallest:
            expected.append((number, clean))
    assert found.ious.tolist() == pytest.approx([float(torch.linspace(0.5, 1, 5)[number]) for number, _ in expected])
    for logits, (_, clean) in zip(found.logits, expected, strict=True):
        assert np.array_equal((logits > 0).numpy(), clean)
