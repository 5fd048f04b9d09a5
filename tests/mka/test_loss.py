"""The weighted sum."""

import pytest
import torch

from goodsam.config import LossOptions
from goodsam.mka.logits import assistant_loss, ensemble_loss
from goodsam.mka.loss import Batch, Loss, MKALoss, mean_loss
from goodsam.student import StudentOutput

CHANNELS, STORED = [2, 3, 5, 7], {3: 4, 4: 6}


def batch(features: bool = True, seed: int = 0) -> tuple[StudentOutput, Batch]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    levels = tuple(drawn(2, channels, 8 >> level, 16 >> level) for level, channels in enumerate(CHANNELS))
    output = StudentOutput(drawn(2, 4, 8, 16), levels)
    valid = torch.ones(2, 8, 16)
    valid[:, 6:] = 0
    stored = {3: drawn(2, 4, 2, 4), 4: drawn(2, 6, 1, 2)} if features else {}
    ensemble, assistant = (2 * drawn(2, 4, 8, 16)).softmax(1), drawn(2, 4, 8, 16).softmax(1)
    return output, Batch(drawn(2, 3, 32, 64), ensemble, assistant, valid, stored)


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    options = LossOptions(alpha=0.3, beta=0.7, temperature=1.5, confidence=0.6)
    output, seen = batch()
    mka = MKALoss(options, CHANNELS, STORED)
    loss = mka(output, seen)
    assert set(loss.terms) == {"ens", "ta", "feat3", "feat4"}
    weight = torch.zeros(2, 8, 16)
    for b in range(2):
        for r in range(8):
            for c in range(16):
                largest = max(seen.ensemble[b, :, r, c].tolist())
                weight[b, r, c] = largest if largest >= 0.6 and seen.valid[b, r, c] else 0
    assert 0 < int((weight > 0).sum()) < 2 * 6 * 16
    torch.testing.assert_close(mka.confidence_weight(seen), weight)
    ens = ensemble_loss(output.logits, seen.ensemble, weight)
    ta = assistant_loss(output.logits, seen.assistant, seen.valid, 1.5)
    feat = mka.features(output.features, seen.features, seen.valid, True)
    torch.testing.assert_close(loss.terms["ens"], ens)
    torch.testing.assert_close(loss.terms["ta"], ta)
    assert loss.terms["feat3"] == feat[3]
    assert loss.terms["feat4"] == feat[4]
    torch.testing.assert_close(loss.total, ens + 0.3 * ta + 0.7 * (feat[3] + feat[4]))


def test_terms_without_weight_or_targets_are_left_out() -> None:
    output, seen = batch()
    only = MKALoss(LossOptions(alpha=0, beta=0), CHANNELS, STORED)
    assert list(only.parameters()) == []
    loss = only(output, seen)
    assert set(loss.terms) == {"ens"}
    assert loss.total == loss.terms["ens"]
    output, seen = batch(features=False)
    assert set(MKALoss(LossOptions(), CHANNELS, {})(output, seen).terms) == {"ens", "ta"}


@pytest.mark.parametrize("wrap", [False, True])
def test_logits_are_resized_to_the_stored_size(wrap: bool) -> None:
    output, seen = batch(features=False)
    constant = output.logits.mean((2, 3), keepdim=True)
    mka = MKALoss(LossOptions(), CHANNELS, {})
    large = mka(StudentOutput(constant.expand(-1, -1, 8, 16), output.features), seen, wrap)
    small = mka(StudentOutput(constant.expand(-1, -1, 3, 8), output.features), seen, wrap)
    torch.testing.assert_close(large.total, small.total)


def test_gradients_reach_student_and_projections() -> None:
    output, seen = batch()
    logits = output.logits.clone().requires_grad_()
    features = tuple(item.clone().requires_grad_() for item in output.features)
    mka = MKALoss(LossOptions(), CHANNELS, STORED)
    mka(StudentOutput(logits, features), seen).total.backward()
    assert logits.grad.abs().sum() > 0
    assert all(features[level - 1].grad.abs().sum() > 0 for level in (3, 4))
    assert all(value.grad.abs().sum() > 0 for value in mka.parameters())
    assert (logits.grad[:, :, 6:] == 0).all()  # no scene there


def test_class_weights_multiply_by_the_expected_weight_of_the_class() -> None:
    _, seen = batch(features=False)
    weights = torch.tensor([0.5, 4.0, 1.0, 0.0])
    plain = MKALoss(LossOptions(confidence=0.4), CHANNELS, {}).confidence_weight(seen)
    found = MKALoss(LossOptions(confidence=0.4), CHANNELS, {}, weights).confidence_weight(seen)
    for b in range(2):
        for r in range(8):
            for c in range(16):
                expected = sum(p * w for p, w in zip(seen.ensemble[b, :, r, c].tolist(), weights.tolist(), strict=True))
                assert float(found[b, r, c]) == pytest.approx(float(plain[b, r, c]) * expected, rel=1e-5)


def test_the_mean_of_losses_is_that_of_their_totals_and_terms() -> None:
    first = Loss(torch.tensor(1.0), {"ens": torch.tensor(0.5), "ta": torch.tensor(4.0)})
    second = Loss(torch.tensor(2.0), {"ens": torch.tensor(1.5), "ta": torch.tensor(0.0)})
    found = mean_loss([first, second])
    assert found.total == 1.5
    assert found.terms == {"ens": 1.0, "ta": 2.0}
