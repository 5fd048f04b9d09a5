"""Engines: the results of the network itself, the fastest right one chosen, and a run that goes on with its own."""

import importlib.util
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from goodsam import pipeline
from goodsam.config import run_options
from goodsam.engines import choosing, frozen, kinds, settling
from goodsam.engines.building import Engine, build
from goodsam.engines.choosing import choose
from goodsam.engines.frozen import FrozenNetwork
from goodsam.engines.likeness import Likeness, same_classes, same_features
from goodsam.errors import GoodSAMError
from goodsam.run import Run
from goodsam.teachers.assistant import TransformersAssistant, load_assistant
from goodsam.teachers.networks import EncoderNetwork, ImageEncoder
from goodsam.teachers.sam import SamOptions, load_sam

CPU = torch.device("cpu")
OTHERS = ("onnx", "openvino")
ROOT = Path(__file__).resolve().parents[1]


def peer() -> Any:
    """tools/peer_masks.py, which builds tiny SAMs."""
    spec = importlib.util.spec_from_file_location("peer_masks", ROOT / "tools" / "peer_masks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Panoramas, a SegFormer and a SAM, all tiny."""
    folder = tmp_path_factory.mktemp("world")
    tiny.write_panoramas(folder / "photos", 2)
    torch.manual_seed(1)
    config = transformers.SegformerConfig(
        id2label=dict(enumerate(tiny.CLASSES)),
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    )
    model = transformers.SegformerForSemanticSegmentation(config)
    nn.init.normal_(model.decode_head.classifier.weight, std=3)  # sure of itself, whatever it says
    model.save_pretrained(folder / "assistant")
    peer().tiny_model("sam2").save_pretrained(folder / "sam")
    return folder


@pytest.fixture
def assistant(world: Path) -> TransformersAssistant:
    loaded = load_assistant(str(world / "assistant"))
    assert isinstance(loaded, TransformersAssistant)
    return loaded


def images(height: int = 96, width: int = 128) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


# -- Engines give what the network gives -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OTHERS)
def test_an_assistant_says_the_same_through_every_engine(assistant: TransformersAssistant, kind: str) -> None:
    own = assistant.predict(images())
    assert assistant.network is not None
    assistant.network.use(kind)
    for pixels in (images(), images().contiguous(memory_format=torch.channels_last)):
        other = assistant.predict(pixels)
        assert (other.probabilities - own.probabilities).abs().max() < 1e-4
        assert list(other.features) == list(own.features) == [1, 2, 3, 4]
        for level, values in own.features.items():
            assert torch.allclose(other.features[level], values, atol=1e-4)
    kept = assistant.predict(images())
    assistant.predict(1 - images())
    assert (kept.probabilities - own.probabilities).abs().max() < 1e-4  # a later call has not written over it
    assistant.network.use("torch")
    assert torch.equal(assistant.predict(images()).probabilities, own.probabilities)  # building left the network alone


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("case", ["sam", "sam_hq", "sam2"])
def test_an_encoder_gives_the_same_through_every_engine(case: str, kind: str) -> None:
    model = peer().tiny_model(case)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    encoder = ImageEncoder(model, None)  # type: ignore[arg-type]  # nothing is preprocessed here
    own = encoder(pixels)
    encoder.network.use(kind)
    other = encoder(pixels)
    assert type(other) is type(own)
    flat = [tuple(_flat(value)) for value in (own, other)]
    assert same_features(*flat, half=False).good
    assert all(torch.equal(a, b) for a, b in zip(flat[0], EncoderNetwork(model).eval()(pixels), strict=True))


def _flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for item in value for tensor in _flat(item)]


@pytest.mark.parametrize("kind", OTHERS)
def test_masks_do_not_depend_on_the_engine(world: Path, kind: str) -> None:
    options = SamOptions(points_per_side=4, iou_threshold=0.3, stability_threshold=0.0)
    teacher = load_sam(str(world / "sam"), options)
    own = teacher.masks(tiny.panorama(0, (96, 128)))
    teacher.encoder.network.use(kind)
    other = teacher.masks(tiny.panorama(0, (96, 128)))
    assert len(own) == len(other) > 0
    assert (own.to_arrays() != other.to_arrays()).mean() < 1e-3


def test_engines_are_kept_for_a_few_shapes(assistant: TransformersAssistant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert assistant.network is not None
    assistant.network.use("onnx")
    built: list[tuple[int, ...]] = []

    def counted(module: nn.Module, pixels: Tensor, kind: str) -> Engine:
        if kind == "onnx":
            built.append(tuple(pixels.shape))
        return build(module, pixels, "torch")

    monkeypatch.setattr(frozen, "build", counted)
    for width in (32, 64, 96, 128, 32, 160, 32, 64):
        assert assistant.predict(images(32, width)).probabilities.shape == (1, 4, 32, width)
    assert [shape[3] for shape in built] == [32, 64, 96, 128, 160, 64]


# -- Choosing ----------------------------------------------------------------------------------------------------------


class Colours(nn.Module):
    """A network without weights: probabilities of three classes, which are the colours."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return (pixels.softmax(1),)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines by name: right or wrong; and how long each takes."""

    def build_fake(module: nn.Module, pixels: Tensor, kind: str) -> Engine:
        if kind == "broken":
            raise GoodSAMError("--engine broken: cannot be built for this network; give --engine torch.")
        wrong = kind.startswith("wrong")
        engine: Engine = lambda pixels: tuple(o.flip(1) if wrong else o for o in module(pixels))  # noqa: E731
        engine.__dict__["seconds"] = {"torch": 0.3, "wrong-fast": 0.1, "right": 0.2, "slower": 0.4}.get(kind, 0.1)
        return engine

    monkeypatch.setattr(choosing, "build", build_fake)
    monkeypatch.setattr(choosing, "_once", lambda engine, pixels: (engine(pixels), engine.__dict__["seconds"]))


@pytest.mark.usefixtures("fakes")
def test_the_fastest_engine_with_the_same_results_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = choose(Colours(), images(), ("torch", "broken", "wrong-fast", "right", "slower"), same_classes)
    assert (found.kind, found.seconds, found.torch_seconds) == ("right", 0.2, 0.3)
    assert found.likeness.startswith("100.00 % of pixels")
    assert "wrong-fast: its results differ" in caplog.text
    assert "broken: cannot be built" in caplog.text


@pytest.mark.usefixtures("fakes")
def test_pytorch_stays_where_nothing_right_is_faster_or_little_is_to_do() -> None:
    assert choose(Colours(), images(), ("torch", "wrong-fast", "slower"), same_classes).kind == "torch"
    assert choose(Colours(), images(), ("torch", "right"), same_classes, runs=199).kind == "torch"  # a minute's work
    assert choose(Colours(), images(), ("torch", "right"), same_classes, runs=201).kind == "right"


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("kind", ["wrong-fast", "broken"])
def test_an_engine_asked_for_by_name_is_refused_with_its_reason(kind: str) -> None:
    with pytest.raises(GoodSAMError, match=f"--engine {kind}: .*give --engine torch"):
        choose(Colours(), images(), (kind,), same_classes)


def test_what_counts_as_the_same() -> None:
    own = torch.rand(1, 4, 100, 100).softmax(1)
    swapped = own.clone()
    swapped[:, :, 0, :30] = own[:, :, 0, :30].flip(1)  # 0.3 % of the pixels, or fewer where that changes no class
    cases: Sequence[tuple[Tensor, bool, bool]] = [
        (own, True, True), (own + 5e-4, True, True), (own + 5e-3, False, True), (swapped, False, True),
        (own.flip(1), False, False), (own * float("nan"), False, False),
    ]  # fmt: skip
    for other, full, half in cases:
        assert [same_classes([own], [other], is_half).good for is_half in (False, True)] == [full, half]
    for factor, full, half in ((1.0, True, True), (1.0005, True, True), (1.01, False, True), (1.1, False, False)):
        assert [same_features([own], [own * factor], is_half).good for is_half in (False, True)] == [full, half]
    assert not same_features([own], [own * float("nan")], half=False).good


# -- What the machine has ----------------------------------------------------------------------------------------------


def test_what_is_not_installed_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(kinds.offered("auto", CPU)) >= {"torch", "onnx", "openvino"}
    monkeypatch.setattr(kinds, "_installed", lambda package: package != "openvino")
    assert kinds.offered("auto", CPU) == ("torch", "onnx")
    with pytest.raises(GoodSAMError, match=r'needs openvino; `pip install "goodsam\[openvino\]"`'):
        kinds.offered("openvino", CPU)
    monkeypatch.setattr(kinds, "_installed", lambda package: False)
    assert kinds.offered("auto", CPU) == kinds.offered("torch", CPU) == ("torch",)
    with pytest.raises(GoodSAMError, match=r'needs onnx and onnxruntime; `pip install "goodsam\[onnx\]"`'):
        kinds.offered("onnx", CPU)


def test_openvino_sends_no_telemetry() -> None:
    kinds.openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_a_gpu_runs_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert kinds.offered("auto", torch.device("cuda")) == ("torch", "torch-bf16")
    assert kinds.offered("auto", torch.device("mps")) == ("torch", "torch-fp16")
    with pytest.raises(GoodSAMError, match="--engine openvino: runs on processors, but the device is cuda"):
        kinds.offered("openvino", torch.device("cuda"))


def test_bfloat16_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Core:
        def get_property(self, *_: str) -> list[str]:
            return ["FP32", "BF16"]

    monkeypatch.setattr(kinds, "openvino", lambda: type("OpenVINO", (), {"Core": Core}))
    assert kinds.offered("openvino", CPU) == ("openvino", "openvino-bf16")


def test_an_engine_that_there_is_not(world: Path, tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match="--engine tensorrt: must be auto, torch, onnx or openvino"):
        label_run(world, tmp_path / "RUN", engine="tensorrt")


# -- Runs --------------------------------------------------------------------------------------------------------------


def label_run(world: Path, out: Path, **changed: Any) -> Path:
    given = {"sam": "regions", "assistant": str(world / "assistant"), "device": "cpu", "ego": "off", **changed}
    pipeline.distill(world / "photos", out, run_options(**given), ("masks", "label"))
    return out


def record(out: Path, stage: str) -> dict[str, Any]:
    return json.loads((out / f"{stage}.json").read_text())


def labels(out: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted((out / "labels").iterdir())])


def nothing_is_chosen(*_: Any) -> None:
    raise AssertionError("the engine was chosen again")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do; and PyTorch is slow."""
    monkeypatch.setattr(choosing, "WORTH", 0.0)
    measured = choosing._once

    def slow(engine: Engine, pixels: Tensor) -> tuple[tuple[Tensor, ...], float]:
        outputs, seconds = measured(engine, pixels)
        return outputs, 1e3 if engine.__qualname__.startswith("_torch") else seconds

    monkeypatch.setattr(choosing, "_once", slow)


@pytest.mark.usefixtures("eager")
def test_a_run_records_its_engine_and_goes_on_with_it(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    out = label_run(world, tmp_path / "RUN")
    assert "label: the assistant runs in " in caplog.text
    (found,) = json.loads((out / "engine.json").read_text()).values()
    assert found["role"] == "assistant"
    assert found["engine"] in OTHERS
    assert record(out, "label")["made_with"]["engine"] == found["engine"]
    before = tiny.tree(out, "labels", "ensemble", "assistant_probs", "features")
    (out / "labels" / "pano01.png").unlink()
    monkeypatch.setattr(settling, "_choose", nothing_is_chosen)
    label_run(world, out)
    assert tiny.tree(out, "labels", "ensemble", "assistant_probs", "features") == before
    (out / "engine.json").unlink()  # the stage's record says it too
    (out / "labels" / "pano01.png").unlink()
    label_run(world, out)
    assert tiny.tree(out, "labels", "ensemble", "assistant_probs", "features") == before
    assert not (out / "stale").exists()


@pytest.mark.usefixtures("eager")
def test_a_run_that_pytorch_began_stays_with_it(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = label_run(world, tmp_path / "RUN", engine="torch")
    assert not (out / "engine.json").exists()
    assert "engine" not in record(out, "label")["made_with"]  # the fingerprint of runs from before there were engines
    before = record(out, "label")["fingerprint"]
    monkeypatch.setattr(settling, "_choose", nothing_is_chosen)
    label_run(world, out)
    assert record(out, "label")["fingerprint"] == before
    assert not (out / "stale").exists()


def test_a_run_through_openvino_gives_the_same_labels(world: Path, tmp_path: Path) -> None:
    sam = {"sam": str(world / "sam"), "points_per_side": 3}
    out = [label_run(world, tmp_path / engine, engine=engine, **sam) for engine in ("torch", "openvino")]
    assert record(out[1], "masks")["made_with"]["engine"] == "openvino"
    assert record(out[1], "label")["made_with"]["engine"] == "openvino"
    assert (labels(out[0]) == labels(out[1])).mean() > 0.999
    label_run(world, out[1], engine="torch", **sam)  # asked for by name, so made again
    assert (out[1] / "stale").exists()
    assert tiny.tree(out[1], "labels") == tiny.tree(out[0], "labels")


def test_little_work_is_done_in_pytorch(world: Path, tmp_path: Path) -> None:
    out = label_run(world, tmp_path / "RUN")
    (found,) = json.loads((out / "engine.json").read_text()).values()
    assert (found["engine"], found["reason"]) == ("torch", "little to do")


@pytest.mark.usefixtures("eager")
def test_what_is_missing_is_said_where_it_may_matter(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(kinds, "_installed", lambda package: False)
    label_run(world, tmp_path / "RUN")
    assert 'not tried: onnx,openvino; `pip install "goodsam[onnx,openvino]"`' in caplog.text
    assert "which no other engine here betters" in caplog.text


def test_rounds_share_the_engines(world: Path) -> None:
    run = Run(world / "RUN")
    assert run.round(1).engines == run.engines == world / "RUN" / "engine.json"


@pytest.mark.usefixtures("eager")
def test_panoramas_of_many_sizes_are_not_worth_engines(world: Path, tmp_path: Path) -> None:
    for number in range(5):
        tiny.write_panoramas(tmp_path / f"w{number}", 1, (64 + 2 * number, 256))
    photos = tmp_path / "world" / "photos"
    photos.mkdir(parents=True)
    for number in range(5):
        (tmp_path / f"w{number}" / "pano00.png").rename(photos / f"p{number}.png")
    given = run_options(sam="regions", assistant=str(world / "assistant"), device="cpu", ego="off")
    pipeline.distill(photos, tmp_path / "RUN", given, ("masks", "label"))
    (found,) = json.loads((tmp_path / "RUN" / "engine.json").read_text()).values()
    assert (found["engine"], found["reason"]) == ("torch", "views of too many shapes")


@pytest.mark.usefixtures("eager")
def test_a_run_whose_engine_is_missing_says_so(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = label_run(world, tmp_path / "RUN")
    monkeypatch.setattr(kinds, "_installed", lambda package: False)
    with pytest.raises(GoodSAMError, match=r"--engine (onnx|openvino): needs .*pip install"):
        label_run(world, out)


def test_an_engine_that_differs_on_a_new_shape_is_named(
    assistant: TransformersAssistant, caplog: pytest.LogCaptureFixture
) -> None:
    assert assistant.network is not None
    network = FrozenNetwork(assistant.network._module, lambda *_: Likeness(False, "half of the pixels"))
    network.use("onnx")
    network(images(32, 64))
    assert "--engine onnx: on 64 x 32 pixels its results differ (half of the pixels)" in caplog.text
