"""Training an assistant: it learns, goes on after a kill, takes what fits of a start, and refuses what does not."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
import yaml
from PIL import Image
from torch import nn
from torch.nn import functional as F

from goodsam import cli
from goodsam.assistant_training import shapes
from goodsam.assistant_training.augment import sample
from goodsam.assistant_training.loss import class_weights, segmentation_loss
from goodsam.assistant_training.muon import Muon
from goodsam.assistant_training.optimizers import Optimizers, rate_at
from goodsam.assistant_training.options import AssistantTrainOptions, check, crops_of
from goodsam.assistant_training.photos import Batches, load_photos
from goodsam.assistant_training.start import new_start
from goodsam.assistant_training.training import train_assistant
from goodsam.config import read_config
from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet, load_label_set
from goodsam.student import new_student
from goodsam.teachers.assistant import load_assistant

CLASSES = ("red", "green", "blue")
COLORS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
TINY = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]}
SMALL = {"crop": "64x96", "batch_size": "4", "held_out": 2, "workers": 0, "device": "cpu", "precision": "fp32"}


@pytest.fixture(autouse=True)
def tiny_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.SHAPES, "tiny", {**TINY, "decoder_hidden_size": 16})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Photos of three colours in bands and blocks, the uppermost rows unlabelled."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    random = np.random.default_rng(0)
    for index in range(10):
        labels = np.zeros((64, 96), dtype=np.uint8)
        labels[:, : random.integers(20, 70)] = 1
        labels[random.integers(20, 50) :] = 2
        pixels = (COLORS[labels] + random.normal(0, 10, (64, 96, 3))).clip(0, 255).astype(np.uint8)
        labels[:4] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{index:02d}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{index:02d}.png")
    (folder / "classes.yaml").write_text(
        yaml.safe_dump({"name": "lot", "classes": {name: {} for name in CLASSES}}, sort_keys=False)
    )
    return f"folder:{folder / 'images'},{folder / 'labels'},{folder / 'classes.yaml'}"


def options(**given: object) -> AssistantTrainOptions:
    return AssistantTrainOptions(**{**SMALL, **given})  # type: ignore[arg-type]


def random_start(**given: object) -> AssistantTrainOptions:
    return options(init="random", shape="tiny", optimizer="muon", **given)


def label_set(*names: str) -> LabelSet:
    return LabelSet("own", names, tuple((index, 0, 0) for index in range(len(names))))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --- the whole ----------------------------------------------------------------------------------------------------


def test_it_learns_and_the_folder_serves_as_assistant_and_student_start(data: str, tmp_path: Path) -> None:
    made_with = options(init="random", shape="b0", optimizer="muon", steps=12, half=True, license="CC0-1.0")
    found = train_assistant(data, tmp_path / "new" / "A", made_with)
    assert found is not None
    assert found.miou > 0.85
    assert {path.name for path in (tmp_path / "new" / "A").iterdir()} == {
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json", "training.json",
    }  # fmt: skip

    assistant = load_assistant(str(tmp_path / "new" / "A"))
    assert assistant.label_set.names == CLASSES
    assert [item.licence for item in assistant.weights] == ["CC0-1.0"]
    _, photo, labels = load_photos(data, 0).seen[-1]
    image = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None] / 255
    predicted, wanted = assistant.predict(image).probabilities.argmax(1)[0].numpy(), np.array(Image.open(labels))
    assert (predicted == wanted)[wanted != 255].mean() > 0.9

    student = new_student("t", label_set("blue", "car"), str(tmp_path / "new" / "A"))
    stored = transformers.AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "new" / "A")
    assert stored.dtype == torch.float16
    row = stored.decode_head.classifier.weight[2].float()
    assert torch.equal(student.model.decode_head.classifier.weight[0], row)


def test_the_card_says_what_it_was_made_from(data: str, tmp_path: Path) -> None:
    train_assistant(data, tmp_path / "first", random_start(steps=2, license="CC-BY-4.0"))
    second = options(init=str(tmp_path / "first"), steps=2, held_out=0)
    assert train_assistant(data, tmp_path / "second", second) is None
    first, card = ((tmp_path / name / "README.md").read_text() for name in ("first", "second"))
    assert "from random weights of the shape tiny" in first
    assert "--init random --shape tiny --steps 2" in first
    assert "On 2 photos that training did not see" in first
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "other"
    assert header["inherited_licences"] == ["CC-BY-4.0"]
    assert "--init first --steps 2" in card
    assert str(tmp_path) not in card + (tmp_path / "second" / "training.json").read_text()
    sha256 = json.loads((tmp_path / "second" / "training.json").read_text())["weights"][0]["sha256"]
    assert sha256 in card
    assert "No photos were held out" in card


def test_a_training_that_stopped_goes_on_as_if_it_had_not(data: str, tmp_path: Path) -> None:
    """Also with worker processes, dropout and two optimisers."""
    train_assistant(data, tmp_path / "whole", random_start(steps=8, checkpoint_every=3, crop="64x96,32x64"))
    for until, workers in ((3, 1), (5, 0), (None, 2)):
        part = random_start(steps=8, until=until, workers=workers, checkpoint_every=3, crop="64x96,32x64")
        train_assistant(data, tmp_path / "parts", part)
    assert losses(tmp_path / "parts.train") == losses(tmp_path / "whole.train")
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_killed_it_goes_on_from_its_checkpoint(data: str, tmp_path: Path) -> None:
    segformer(label_set("red", "x")).save_pretrained(tmp_path / "start")  # with dropout
    words = ["--init", tmp_path / "start", "--steps", 16, "--checkpoint-every", 2, "--validate-every", 16]
    words += [part for name, value in SMALL.items() for part in (f"--{name.replace('_', '-')}", value)]
    command = [sys.executable, "-m", "goodsam", "assistant", "train", "--data", data, *words, "--out"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    killed = subprocess.Popen([str(word) for word in [*command, tmp_path / "A"]], env=environment)
    while not (tmp_path / "A.train" / "checkpoint.pt").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "A").exists()
    same = options(init=str(tmp_path / "start"), steps=16, checkpoint_every=2, validate_every=16)
    train_assistant(data, tmp_path / "A", same)
    train_assistant(data, tmp_path / "B", same)
    assert losses(tmp_path / "A.train") == losses(tmp_path / "B.train")
    states = [(tmp_path / name / "model.safetensors").read_bytes() for name in "AB"]
    assert states[0] == states[1]


def test_another_training_in_the_same_folder_is_refused(data: str, tmp_path: Path) -> None:
    train_assistant(data, tmp_path / "A", random_start(steps=2))
    with pytest.raises(GoodSAMError, match=r"A\.train: holds a training with other values of clip, steps;"):
        train_assistant(data, tmp_path / "A", random_start(steps=3, clip=0.5))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "letter.txt").write_text("dear")
    with pytest.raises(GoodSAMError, match=r"--out .*own: exists, and is no folder that"):
        train_assistant(data, tmp_path / "own", random_start(steps=2))
    assert (tmp_path / "own" / "letter.txt").exists()


def test_the_best_look_is_what_is_written(data: str, tmp_path: Path) -> None:
    train_assistant(data, tmp_path / "A", random_start(steps=6, validate_every=1))
    looks = [
        json.loads(line)["held_out_miou"] for line in (tmp_path / "A.train/metrics.jsonl").read_text().splitlines()
    ]
    written = json.loads((tmp_path / "A" / "training.json").read_text())["held_out"]["miou"]
    assert written == max(looks)


# --- starts -------------------------------------------------------------------------------------------------------


def segformer(classes: LabelSet, **more: object) -> transformers.SegformerForSemanticSegmentation:
    config = transformers.SegformerConfig(
        **TINY, decoder_hidden_size=16, id2label=dict(enumerate(classes.names)), **more
    )
    return transformers.SegformerForSemanticSegmentation(config)


def upernet(classes: LabelSet) -> transformers.UperNetForSemanticSegmentation:
    swin = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    names = dict(enumerate(classes.names))
    config = transformers.UperNetConfig(
        id2label=names, backbone_config=swin, hidden_size=16, use_auxiliary_head=False, pool_scales=[1, 2]
    )
    return transformers.UperNetForSemanticSegmentation(config)


def dpt(classes: LabelSet) -> transformers.DPTForSemanticSegmentation:
    config = transformers.DPTConfig(
        id2label=dict(enumerate(classes.names)), patch_size=16, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, hidden_size=16, intermediate_size=16,
        num_hidden_layers=4, num_attention_heads=2, image_size=64,
    )  # fmt: skip
    return transformers.DPTForSemanticSegmentation(config)


@pytest.mark.parametrize(
    ("make", "optimizer"), [(segformer, "adamw"), (segformer, "muon"), (upernet, "adamw"), (dpt, "adamw")]
)
def test_any_semantic_segmenter_learns(make: object, optimizer: str, data: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make(label_set("sky", "red")).save_pretrained(tmp_path / "start")  # type: ignore[operator]
    trained = options(
        init=str(tmp_path / "start"), steps=12, optimizer=optimizer, learning_rate=3e-3, validate_every=12
    )
    train_assistant(data, tmp_path / "A", trained)
    found = losses(tmp_path / "A.train")
    assert np.mean(found[-3:]) < 0.9 * found[0]
    assistant = load_assistant(str(tmp_path / "A"))
    assert assistant.label_set.names == CLASSES
    assert assistant.predict(torch.rand(1, 3, 50, 70)).probabilities.shape == (1, 3, 50, 70)


@pytest.mark.parametrize(
    ("make", "classifier"),
    [(segformer, "decode_head.classifier"), (upernet, "decode_head.classifier"), (dpt, "head.head.4")],
)
def test_rows_of_the_classifier_go_by_name(
    make: object, classifier: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = make(label_set("sky", "red", "road"))  # type: ignore[operator]
    given.save_pretrained(tmp_path / "start")
    with caplog.at_level(logging.INFO):
        start = new_start(options(init=str(tmp_path / "start")), label_set("red", "car", "sky"))  # as many, but others
    assert "everything taken, with 2 of 3 classes" in caplog.text
    old, new = given.state_dict(), start.trainee.model.state_dict()
    for name, value in old.items():
        if classifier not in name:  # DPT's auxiliary head, which serves nothing here, has one too
            assert torch.equal(new[name], value), name
            continue
        assert torch.equal(new[name][0], value[1])
        assert torch.equal(new[name][2], value[0])
        if value.ndim > 1:
            assert not torch.equal(new[name][1], value[2])
    assert start.fresh >= {f"model.{classifier}.weight", f"model.{classifier}.bias"}
    assert all(classifier in name for name in start.fresh)
    assert start.trainee.config.label2id == {"red": 0, "car": 1, "sky": 2}


def test_the_same_classes_take_everything(tmp_path: Path) -> None:
    given = segformer(label_set(*CLASSES))
    given.save_pretrained(tmp_path / "start")
    start = new_start(options(init=str(tmp_path / "start")), label_set(*CLASSES))
    assert all(torch.equal(value, start.trainee.model.state_dict()[name]) for name, value in given.state_dict().items())
    assert not start.fresh


def test_an_encoder_alone_gets_a_head(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = transformers.SegformerConfig(**TINY, decoder_hidden_size=16, id2label={0: "red", 1: "tiger"})
    given = transformers.SegformerForImageClassification(config)
    given.save_pretrained(tmp_path / "mit")
    with caplog.at_level(logging.INFO):
        start = new_start(options(init=str(tmp_path / "mit")), label_set(*CLASSES))
    for name, value in given.segformer.state_dict().items():
        assert torch.equal(start.trainee.model.state_dict()[f"segformer.{name}"], value)
    assert all(name.startswith("model.decode_head.") for name in start.fresh)
    assert "start random, with 0 of 3 classes" in caplog.text


def test_the_bundled_assistant_is_a_start() -> None:
    start = new_start(options(init="street"), load_label_set("densepass13"))
    assert start.trainee.config.hidden_sizes == shapes.SHAPES["street"]["hidden_sizes"]
    assert start.weights[0].licence == "apache-2.0"


def test_the_bundled_recipe_has_the_bundled_shapes() -> None:
    classes = load_label_set("densepass13")
    for shape, millions in (("street", 5.8), ("b0", 3.7)):
        model = shapes.random_segformer(shape, classes)
        assert round(sum(value.numel() for value in model.parameters()) / 1e6, 1) == millions


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    classes = label_set(*CLASSES)
    (tmp_path / "universal").mkdir()
    (tmp_path / "universal" / "config.json").write_text('{"model_type": "mask2former"}')
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"model_type": "bert"}')
    model = segformer(classes)
    head = {name: value for name, value in model.state_dict().items() if name.startswith("decode_head.")}
    model.save_pretrained(tmp_path / "headless", state_dict=head)
    for given, sentence in (
        ({"init": "random", "shape": "b7"}, "--shape b7 is unknown; it must be one of b0, b1"),
        ({"init": "random"}, "--shape is missing; it must be one of b0"),
        ({"init": "street", "shape": "b0"}, "--shape b0: is that of random weights"),
        ({"init": str(tmp_path)}, "has no config.json"),
        ({"init": str(tmp_path / "universal")}, "'mask2former' is a universal segmenter.*give a semantic segmenter"),
        ({"init": str(tmp_path / "text")}, "'bert' is no semantic segmenter; it must be one of beit"),
        ({"init": str(tmp_path / "headless")}, r"lack \d+ parameters of the encoder \(segformer\."),
    ):
        with pytest.raises(GoodSAMError, match=sentence):
            new_start(options(**given), classes)


def test_pickled_code_in_a_start_is_refused(tmp_path: Path) -> None:
    segformer(label_set(*CLASSES)).save_pretrained(tmp_path / "start")
    (tmp_path / "start" / "model.safetensors").unlink()
    torch.save({"a": Evil(tmp_path / "ran")}, tmp_path / "start" / "pytorch_model.bin")
    with pytest.raises(GoodSAMError, match="a pickle that would run code"):
        new_start(options(init=str(tmp_path / "start")), label_set(*CLASSES))
    assert not (tmp_path / "ran").exists()


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


# --- options and data ---------------------------------------------------------------------------------------------


def test_numbers_that_make_no_training_are_refused() -> None:
    for given, sentence in (
        ({"steps": 0}, "--steps 0: must be at least 1"),
        ({"held_out": -1}, "--held-out -1: must be at least 0"),
        ({"until": 0}, "--until 0: must be at least 1"),
        ({"average": 1.5}, r"--average 1.5: must be a share, 0\.\.1"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0: must be above 0"),
        ({"crop": "500x512"}, "--crop 500x512: both must be multiples of 32, such as 512x512"),
        ({"crop": "big"}, "--crop big: must be HEIGHTxWIDTH"),
        ({"batch_size": "2,3"}, "--batch-size 2,3: must be one number of at least 1, or one for each of the 1"),
        ({"batch_size": "none"}, "--batch-size none: must be one number"),
    ):
        with pytest.raises(GoodSAMError, match=sentence):
            check(options(**given))
    recipe = options(crop="224x288,256x320,352x448", batch_size="5,4,2")
    assert crops_of(recipe) == ((5, 224, 288), (4, 256, 320), (2, 352, 448))
    assert crops_of(options(crop="32x32,64x32", batch_size="3")) == ((3, 32, 32), (3, 64, 32))


def test_photos_that_do_not_serve_are_refused(data: str, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"--held-out 10: .* has 10 photos.*at most 9"):
        load_photos(data, 10)
    images, labels, classes = data.removeprefix("folder:").split(",")
    two = tmp_path / "two.yaml"
    two.write_text(yaml.safe_dump({"name": "two", "classes": {"red": {}, "green": {}}}))
    with pytest.raises(GoodSAMError, match=r"00\.png: value 2 is no class of two"):
        train_assistant(f"folder:{images},{labels},{two}", tmp_path / "A", random_start(steps=1))
    (tmp_path / "labels").mkdir()
    for path in Path(labels).iterdir():
        Image.fromarray(np.zeros((32, 48), dtype=np.uint8)).save(tmp_path / "labels" / path.name)
    with pytest.raises(GoodSAMError, match=r"labels/0\d\.png: 32x48 pixels, but its photo .* has 64x96"):
        train_assistant(f"folder:{images},{tmp_path / 'labels'},{classes}", tmp_path / "B", random_start(workers=1))
    for path in (tmp_path / "labels").iterdir():
        Image.fromarray(np.full((64, 96), 255, dtype=np.uint8)).save(path)
    with pytest.raises(GoodSAMError, match="no pixel of this label map or of 7 others has a class"):
        class_weights(load_photos(f"folder:{images},{tmp_path / 'labels'},{classes}", 2))


def test_a_batch_depends_on_seed_and_step_alone(data: str) -> None:
    photos = load_photos(data, 2)
    first, again = (Batches(photos, ((3, 32, 64), (2, 64, 32)), 5) for _ in range(2))
    for step in (0, 7):
        pixels, labels = first[step]  # type: ignore[misc]
        assert all(torch.equal(one, two) for one, two in zip((pixels, labels), again[step], strict=True))  # type: ignore[arg-type]
        assert pixels.shape == ((3, 32, 64, 3) if step == 0 else (2, 64, 32, 3))
        assert pixels.dtype == labels.dtype == torch.uint8
        assert set(labels.unique().tolist()) <= {0, 1, 2, 255}
    assert not torch.equal(first[0][0], first[2][0])  # type: ignore[index]


def test_labels_stay_on_their_pixels_and_are_never_mixed() -> None:
    ids = np.kron(np.array([[0, 50, 255], [250, 200, 150]], dtype=np.uint8), np.ones((40, 40), dtype=np.uint8))
    grey = np.where(ids == 255, 100, ids)  # as a photo, so that each shows where the other is
    for seed in range(20):
        pixels, labels = sample(
            Image.fromarray(np.repeat(grey[..., None], 3, 2)), Image.fromarray(ids), (64, 96),
            np.random.default_rng(seed),
        )  # fmt: skip
        assert set(np.unique(labels)) <= set(np.unique(ids))
        means = {value: pixels[labels == value].mean() for value in np.unique(labels) if value != 255}
        assert sorted(means, key=lambda value: means[value]) == sorted(means)


# --- loss, optimisers ---------------------------------------------------------------------------------------------


def test_loss_is_the_weighted_mean_of_what_is_labelled() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 12, generator=generator)
    labels = torch.randint(0, 3, (2, 32, 48), generator=generator)
    labels[:, :10] = 255
    weights = torch.tensor([0.5, 1.0, 3.0])
    large = F.interpolate(logits, scale_factor=2, mode="bilinear")
    wanted = F.cross_entropy(large, labels[:, ::2, ::2], weights, ignore_index=255)
    torch.testing.assert_close(segmentation_loss(logits, labels, weights), wanted)
    nothing = segmentation_loss(logits.requires_grad_(), torch.full_like(labels, 255), weights)
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()  # type: ignore[union-attr]


def test_rare_classes_weigh_more_and_missing_ones_are_named(data: str, caplog: pytest.LogCaptureFixture) -> None:
    photos = load_photos(data, 2)
    weights = class_weights(photos)
    counts = np.sum(
        [np.bincount(photos.data.read_labels(path).ravel(), minlength=256) for _, _, path in photos.seen], 0
    )
    assert np.argsort(weights).tolist() == np.argsort(-counts[:3]).tolist()
    assert weights.mean() == pytest.approx(1)
    images, labels, _ = data.removeprefix("folder:").split(",")
    with caplog.at_level(logging.WARNING):
        assert class_weights(load_photos(f"folder:{images},{labels},cityscapes19", 2)).max() <= 4
    assert "no pixel is wall, fence" in caplog.text


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon to compare with")
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.bfloat16, 1e-7), (torch.float32, 2e-3)])
def test_muon_is_that_of_pytorch(precision: torch.dtype, tolerance: float) -> None:
    for shape in ((6, 20), (20, 6), (8, 8)):
        start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
        one = Muon([{"params": [ours], "lr": 0.02, "weight_decay": 0.1}], precision)
        two = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for step in range(4):
            gradient = torch.randn(shape, generator=torch.Generator().manual_seed(step + 1))
            ours.grad, theirs.grad = gradient.clone(), gradient.clone()
            one.step()
            two.step()
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def test_what_starts_random_learns_faster_with_adamw() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    both = Optimizers(module, {"1.weight", "1.bias"}, options(), "fp32")
    both.set_rate(0.5)
    (part,) = both._parts
    rates = {id(value): group["lr"] for group in part.param_groups for value in group["params"]}
    assert [rates[id(value)] for value in module.parameters()] == pytest.approx([3e-5, 3e-5, 3e-4, 3e-4])
    muon, adamw = Optimizers(module, (), options(optimizer="muon"), "fp32")._parts
    assert [value.ndim for group in muon.param_groups for value in group["params"]] == [2, 2]
    assert {group["peak"] for group in adamw.param_groups} == {8e-4}


def test_the_rate_rises_stays_and_falls() -> None:
    plan = options(steps=1000)
    assert [round(rate_at(step, plan), 3) for step in (0, 99, 100, 699, 700, 850, 999)] == [
        0.01, 1, 1, 1, 1, 0.5, 0.003,
    ]  # fmt: skip
    assert rate_at(0, options(steps=1)) == 1


def test_the_command_line_and_a_file_together(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {**SMALL, "init": "random", "shape": "tiny", "steps": 9, "learning-rate": 1e-3}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(values))
    words = ["--config", tmp_path / "train.yaml", "--data", data, "--out", tmp_path / "A", "--steps", 2]
    monkeypatch.setattr(sys, "argv", ["goodsam", "assistant", "train", *map(str, words)])
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code in (0, None)  # noqa: PT017 (a command may end by returning or by exiting)
    used = json.loads((tmp_path / "A" / "training.json").read_text())["options"]
    assert (used["steps"], used["learning_rate"], used["batch_size"]) == (2, 1e-3, "4")


def test_options_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("shape: b0\nbatch-size: 4\n")
    known = list(AssistantTrainOptions.__dataclass_fields__)
    assert read_config(path, known) == {"shape": "b0", "batch_size": 4}
    path.write_text("shpe: b0\n")
    with pytest.raises(GoodSAMError, match="did you mean 'shape'"):
        read_config(path, known)
