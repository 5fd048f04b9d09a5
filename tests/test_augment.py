"""Augmentation: a turn moves image and stored targets by whole cells, colour touches the image alone."""

import pytest
import torch

from goodsam.augment import Turn, photometric


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("cell", [0, 1, 3])
def test_a_turn_moves_every_column_to_its_place(cell: int, mirrored: bool) -> None:
    image = torch.rand(3, 2, 128, generator=generator())
    turned = Turn(cell / 4, mirrored)(image)
    for column in range(128):
        target = (column + 32 * cell) % 128
        target = 127 - target if mirrored else target
        assert torch.equal(turned[..., target], image[..., column])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("stride", [2, 16, 32])
def test_stored_targets_move_with_the_image(stride: int, mirrored: bool) -> None:
    def stored(image: torch.Tensor) -> torch.Tensor:
        return image.unflatten(-1, (-1, stride)).mean(-1)

    image = torch.rand(3, 2, 160, generator=generator())
    for cell in range(5):
        turn = Turn(cell / 5, mirrored)
        torch.testing.assert_close(turn(stored(image)), stored(turn(image)))


def test_drawn_turns_are_whole_cells_and_all_occur() -> None:
    source = generator()
    turns = [Turn.draw(source, 160) for _ in range(300)]
    assert {round(turn.part * 5, 9) for turn in turns} == {0, 1, 2, 3, 4}
    assert 100 < sum(turn.mirrored for turn in turns) < 200
    again = generator()
    assert [Turn.draw(again, 160) for _ in range(300)] == turns


def test_the_narrowest_panorama_has_one_place() -> None:
    assert {Turn.draw(generator(seed), 32).part for seed in range(5)} == {0.0}


def test_photometric_stays_in_range_and_is_drawn_from_the_generator() -> None:
    image = torch.rand(3, 8, 16, generator=generator())
    before = image.clone()
    changed = [photometric(image, generator(seed)) for seed in range(20)]
    assert torch.equal(image, before)
    assert all(float(item.min()) >= 0 and float(item.max()) <= 1 for item in changed)
    assert torch.equal(changed[3], photometric(image, generator(3)))
    assert not torch.equal(changed[3], changed[4])


def test_photometric_moves_no_pixel() -> None:
    """Where nothing is clipped, each channel is an affine function of itself with a positive slope."""
    image = 0.4 + 0.2 * torch.rand(3, 8, 16, generator=generator())
    for seed in range(10):
        changed = photometric(image, generator(seed))
        for before, after in zip(image.flatten(1), changed.flatten(1), strict=True):
            order = before.argsort()
            slopes = after[order].diff() / before[order].diff().clamp_min(1e-9)
            steep = before[order].diff() > 1e-4
            torch.testing.assert_close(
                slopes[steep], slopes[steep].median().expand(int(steep.sum())), rtol=0.02, atol=0
            )
            assert 0.8 * 0.8 * 0.93 - 0.02 < float(slopes[steep].median()) < 1.2 * 1.2 * 1.07 + 0.02
