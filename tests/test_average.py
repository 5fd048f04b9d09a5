"""The running average of the weights, against a loop in Python."""

import pytest
import torch

from goodsam.average import Average
from goodsam.labels import own_label_set
from goodsam.student import new_student


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.99])
def test_the_average_is_that_of_a_loop(decay: float) -> None:
    student = new_student("t", own_label_set(("a", "b")), "random")
    name, buffer = "model.decode_head.classifier.weight", "model.decode_head.batch_norm.running_mean"
    average = Average(student, decay)
    expected = {key: student.state_dict()[key].flatten()[0].item() for key in (name, buffer)}
    generator = torch.Generator().manual_seed(0)
    for step in range(12):
        with torch.no_grad():
            for value in student.state_dict().values():
                value.add_(torch.randn(value.shape, generator=generator).to(value.dtype))
        average.update(student, step)
        kept = min(decay, (1 + step) / (10 + step))
        for key in expected:
            now = student.state_dict()[key].flatten()[0].item()
            expected[key] = kept * expected[key] + (1 - kept) * now
            assert average.model.state_dict()[key].flatten()[0].item() == pytest.approx(expected[key], abs=1e-5)
    count = "model.decode_head.batch_norm.num_batches_tracked"
    assert average.model.state_dict()[count] == student.state_dict()[count]


def test_the_average_labels_and_does_not_learn() -> None:
    student = new_student("t", own_label_set(("a", "b")), "random").train()
    average = Average(student, 0.9)
    assert not average.model.training
    assert student.training
    assert not any(value.requires_grad for value in average.model.parameters())
    assert all(value.requires_grad for value in student.parameters())
