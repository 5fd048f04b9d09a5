"""The training loop: what a step depends on, what a checkpoint holds, what it learns."""

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from accelerate import Accelerator

from goodsam import agreement, files, pipeline
from goodsam.agreement import Agreement
from goodsam.config import TrainOptions, run_options
from goodsam.distiller import Distiller
from goodsam.errors import GoodSAMError
from goodsam.loader import look_at
from goodsam.progress import Silent
from goodsam.run import Input, Run
from goodsam.schedule import check_split, learning_rate, resolve_precision
from goodsam.student import load_student, resize
from goodsam.targets import read_probabilities


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    tiny.write_panoramas(folder / "photos", 4)
    tiny.write_assistant(folder / "assistant.onnx")
    pipeline.distill(folder / "photos", folder / "RUN", given(folder), ("masks", "label"))
    return folder


def given(folder: Path, **changed: Any) -> Any:
    values = {"sam": "regions", "assistant": str(folder / "assistant.onnx"), "init": "random", "device": "cpu"}
    return run_options(**values | {"steps": 8, "batch_size": 2, "workers": 0} | changed)


def train(folder: Path, options: Any, progress: Any = None) -> dict[int, dict[str, float]]:
    run = pipeline.distill(folder / "photos", folder / "RUN", options, ("train",), progress)
    entries = [json.loads(line) for line in (run.train / "metrics.jsonl").read_text().splitlines()]
    return {entry["step"]: entry for entry in entries}


class Stops(Silent):
    """Ends the training like a power cut after some steps."""

    def __init__(self, after: int) -> None:
        self._after = after

    def track(self, items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        for count, item in enumerate(items):
            if count == self._after:
                raise KeyboardInterrupt
            yield item


def test_the_step_after_a_resume_has_the_loss_it_would_have_had(labelled: Path) -> None:
    straight = train(labelled, given(labelled, seed=1))
    with pytest.raises(KeyboardInterrupt):
        train(labelled, given(labelled, seed=2, checkpoint_every=3), Stops(5))
    interrupted = train(labelled, given(labelled, seed=2, checkpoint_every=3))  # from step 3, the last checkpoint
    whole = train(labelled, given(labelled, seed=1))
    assert whole == straight  # same options bring back the same student, not a new one
    again = train(labelled, given(labelled, seed=3))
    assert again[3]["loss"] != pytest.approx(interrupted[3]["loss"], rel=1e-3)
    other = labelled / "other"
    other.mkdir()
    for name in ("photos", "assistant.onnx"):
        (other / name).symlink_to(labelled / name)
    pipeline.distill(other / "photos", other / "RUN", given(labelled), ("masks", "label"))
    uninterrupted = train(other, given(labelled, seed=2, checkpoint_every=3))
    assert list(interrupted) == list(uninterrupted) == list(range(8))
    for step in range(8):
        assert interrupted[step]["loss"] == pytest.approx(uninterrupted[step]["loss"], rel=1e-6)
        assert interrupted[step]["learning_rate"] == uninterrupted[step]["learning_rate"]


def test_workers_change_nothing(labelled: Path) -> None:
    alone = train(labelled, given(labelled, seed=5, steps=3))
    (labelled / "RUN" / "train.json").unlink()
    for path in sorted((labelled / "RUN" / "train").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    beside = train(labelled, given(labelled, seed=5, steps=3, workers=2))
    assert [beside[step]["loss"] for step in beside] == pytest.approx([alone[step]["loss"] for step in alone])


def test_the_student_learns(labelled: Path) -> None:
    losses = train(labelled, given(labelled, seed=4, steps=30, learning_rate=2e-3))
    first, last = (sum(losses[step]["ens"] for step in steps) / 5 for steps in (range(5), range(25, 30)))
    assert last < 0.7 * first


@pytest.mark.parametrize(
    ("size", "accumulate", "processes", "near"), [(3, 1, 2, 4), (4, 3, 1, 3), (2, 2, 2, 4), (1, 0, 1, 1)]
)
def test_a_batch_that_cannot_be_split_is_refused(size: int, accumulate: int, processes: int, near: int) -> None:
    with pytest.raises(GoodSAMError, match=rf"--batch-size {size}: cannot be split evenly .*; {near} can"):
        check_split(TrainOptions(batch_size=size, accumulate=accumulate), processes)


@pytest.mark.parametrize(("name", "value"), [("held_back", 1.5), ("average", -0.1), ("drop", 2.0), ("rare_patches", 3)])
def test_shares_out_of_range_are_refused(labelled: Path, name: str, value: float) -> None:
    with pytest.raises(GoodSAMError, match=rf"--{name.replace('_', '-')} {value:g}: must be from 0 to 1"):
        train(labelled, given(labelled, **{name: value}))


def test_a_temperature_of_zero_is_refused(labelled: Path) -> None:
    with pytest.raises(GoodSAMError, match="--temperature 0: must be above 0"):
        train(labelled, given(labelled, temperature=0.0))


def test_the_best_student_of_those_looked_at_is_kept(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agreement with panoramas held back decides, whatever the last step gave."""
    found = iter([0.3, 0.6, 0.5, 0.4])
    weights: list[torch.Tensor] = []

    def looked(student: Any, run: Any, inputs: list[Any], *_: Any) -> Agreement:
        assert len(inputs) == 1
        weights.append(student.state_dict()["model.decode_head.classifier.weight"].clone())
        return Agreement(next(found), 0.9, 1)

    monkeypatch.setattr(agreement, "agreement", looked)
    entries = train(labelled, given(labelled, seed=8, held_back=0.25, validate_every=2, learning_rate=1e-2))
    assert [(step, entry["agreement"]) for step, entry in entries.items() if "agreement" in entry] == [
        (1, 0.3), (3, 0.6), (5, 0.5), (7, 0.4),
    ]  # fmt: skip
    student = load_student(labelled / "RUN" / "student")
    assert torch.equal(student.model.decode_head.classifier.weight, weights[1])
    assert not torch.equal(student.model.decode_head.classifier.weight, weights[3])
    record = json.loads((labelled / "RUN" / "train.json").read_text())
    assert record["agreement"] == {"miou": 0.6, "pixel_accuracy": 0.9, "panoramas": 1}
    assert (record["panoramas"], record["held_back"]) == (3, 1)


def test_training_stops_when_the_student_gets_no_better(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(agreement, "agreement", lambda *_: Agreement(next(found), 0.9, 1))
    entries = train(labelled, given(labelled, seed=9, held_back=0.25, validate_every=1, patience=2))
    assert list(entries) == [0, 1, 2]


def test_agreement_is_what_evaluate_says_of_the_ensembles_labels(labelled: Path) -> None:
    options = given(labelled, seed=10, steps=12, learning_rate=3e-3)
    train(labelled, options)
    run = Run(labelled / "RUN")
    inputs = run.take_inputs(files.list_images(labelled / "photos"))
    scene = look_at(inputs, options, run)
    student = load_student(run.student)
    said = agreement.agreement(student, run, inputs, scene, Accelerator(cpu=True))
    confusion = np.zeros((4, 5), dtype=np.int64)
    for item in inputs:
        image = torch.from_numpy(tiny.panorama(int(item.stem[-2:]))).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            logits = resize(student(image, wrap=True).logits, (48, 256), True)[0]
        wanted = read_probabilities(run.file("ensemble", item.stem)).classes[0]
        for mine, theirs in zip(logits.argmax(0).flatten().tolist(), wanted.flatten().tolist(), strict=True):
            confusion[theirs, mine] += 1
    hit = np.diag(confusion)
    with np.errstate(invalid="ignore"):
        ious = hit / (confusion.sum(1) + confusion[:, :4].sum(0) - hit)
    assert said.miou == pytest.approx(np.nanmean(ious[confusion.sum(1) > 0]))
    assert said.pixel_accuracy == pytest.approx(hit.sum() / confusion.sum())
    assert 0.3 < said.pixel_accuracy < 1


def test_few_panoramas_hold_none_back_and_many_at_most_sixteen() -> None:
    inputs = [Input(f"{n:04d}", Path(), "") for n in range(1000)]
    assert agreement.hold_back(inputs[:19], 0.05, 0) == (inputs[:19], [])
    seen, held_back = agreement.hold_back(inputs[:40], 0.05, 0)
    assert (len(seen), len(held_back)) == (38, 2)
    assert sorted(seen + held_back, key=lambda item: item.stem) == inputs[:40]
    assert len(agreement.hold_back(inputs, 0.05, 0)[1]) == 16
    assert agreement.hold_back(inputs, 0.05, 1) != agreement.hold_back(inputs, 0.05, 0)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    options = TrainOptions(steps=100, warmup=200, learning_rate=1.0)  # warm-up is at most a tenth of all steps
    rates = [learning_rate(step, options) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[10]) == pytest.approx(1.0)
    assert all(later < sooner for sooner, later in itertools.pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.0, abs=1e-9)


def test_a_width_that_does_not_wrap_is_refused(labelled: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"--train-size 48x250: .* a multiple of 32 .*; 256 would be right"):
        train(labelled, given(labelled, train_size="48x250"))
    with pytest.raises(GoodSAMError, match="--train-size 24x256: the height must be at least 32"):
        train(labelled, given(labelled, train_size="24x256"))
    with pytest.raises(GoodSAMError, match="--train-size 48: must be HEIGHTxWIDTH"):
        train(labelled, given(labelled, train_size="48"))


def test_a_damaged_checkpoint_is_named(labelled: Path) -> None:
    train(labelled, given(labelled, seed=6, steps=2))
    record = json.loads((labelled / "RUN" / "train.json").read_text())
    (labelled / "RUN" / "train.json").write_text(json.dumps(record | {"finished": False}))
    (labelled / "RUN" / "train" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(GoodSAMError, match=r"checkpoint\.pt: cannot be read.*Delete it to train from the start"):
        train(labelled, given(labelled, seed=6, steps=2))


def test_a_checkpoint_cannot_run_code(labelled: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    train(labelled, given(labelled, seed=7, steps=2))
    record = json.loads((labelled / "RUN" / "train.json").read_text())
    (labelled / "RUN" / "train.json").write_text(json.dumps(record | {"finished": False}))
    torch.save({"fingerprint": Evil()}, labelled / "RUN" / "train" / "checkpoint.pt")
    with pytest.raises(GoodSAMError, match="cannot be read"):
        train(labelled, given(labelled, seed=7, steps=2))
    assert not (tmp_path / "ran").exists()


def test_a_step_is_compiled_when_asked_for(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That, and no more: compiling takes minutes."""
    compiled: list[Distiller] = []
    monkeypatch.setattr(Distiller, "compile", lambda self: compiled.append(self))
    train(labelled, given(labelled, seed=11, steps=1, compile=True))
    assert len(compiled) == 1
    record = json.loads((labelled / "RUN" / "train.json").read_text())["fingerprint"]
    train(labelled, given(labelled, seed=11, steps=1))  # the student is the same one
    assert json.loads((labelled / "RUN" / "train.json").read_text())["fingerprint"] == record


@pytest.mark.parametrize(("known", "precision"), [(True, "bf16"), (False, "fp32")])
def test_precision_is_what_the_cpu_can_do(monkeypatch: pytest.MonkeyPatch, known: bool, precision: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: known, raising=False)
    assert resolve_precision(run_options(device="cpu")) == precision
    assert resolve_precision(run_options(device="cpu", precision="fp32")) == "fp32"
