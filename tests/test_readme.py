"""Every command of the README runs, on a world small enough for a test and models saved in the hub's own format."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import yaml
from accelerate.commands.launch import launch_command_parser
from hubs import offline_hub
from huggingface_hub import snapshot_download
from PIL import Image
from torch.distributed.run import get_args_parser
from transformers import (
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
)

import goodsam
from goodsam import cli
from goodsam.labels import LABEL_SETS

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.strip().splitlines()]
GOODSAM = [line for line in COMMANDS if line.startswith("goodsam ")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models in the folders that the hub would give: random weights, real formats."""
    folder = tmp_path_factory.mktemp("hub")
    vision = SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=16,
        mlp_dim=16, global_attn_indexes=[0], window_size=2, num_pos_feats=8,
    )  # fmt: skip
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    prompt = SamPromptEncoderConfig(hidden_size=16, image_size=64, mask_input_channels=8)
    SamModel(
        SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    ).save_pretrained(folder / "sam")
    names = dict(enumerate(LABEL_SETS["cityscapes19"].names))
    small = SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], decoder_hidden_size=16, id2label=names,
        label2id={name: index for index, name in names.items()},
    )  # fmt: skip
    SegformerForSemanticSegmentation(small).save_pretrained(folder / "segformer")
    SegformerForImageClassification(SegformerConfig()).save_pretrained(folder / "mit")  # MiT-B0's own size
    return {
        "facebook/sam-vit-huge": folder / "sam",
        "facebook/sam-vit-base": folder / "sam",
        "nvidia/segformer-b5-finetuned-cityscapes-1024-1024": folder / "segformer",
        "nvidia/segformer-b0-finetuned-cityscapes-1024-1024": folder / "segformer",
        "nvidia/mit-b0": folder / "mit",
    }


@pytest.fixture
def desk(tmp_path: Path, hub: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README's placeholders stand for, and a hub that has the models it names."""
    tiny.write_panoramas(tmp_path / "PHOTOS", 2)
    tiny.write_panoramas(tmp_path / "NEW_PHOTOS", 1)
    tiny.write_panoramas(tmp_path / "IMAGES", 1)
    (tmp_path / "LABELS").mkdir()
    Image.fromarray(np.zeros(tiny.SIZE, dtype=np.uint8)).save(tmp_path / "LABELS" / "pano00.png")
    shutil.copy(tmp_path / "PHOTOS" / "pano00.png", tmp_path / "photo.jpg.png")
    Image.open(tmp_path / "PHOTOS" / "pano00.png").save(tmp_path / "photo.jpg")
    tiny.write_assistant(tmp_path / "segmenter.onnx")
    shutil.copytree(hub["nvidia/segformer-b5-finetuned-cityscapes-1024-1024"], tmp_path / "YOUR_SEGMENTER")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    offline_hub(tmp_path / "cache", monkeypatch)

    def fetch(name: str, **options: object) -> str:
        return str(hub[name]) if name in hub else snapshot_download(name, **options)

    monkeypatch.setattr("goodsam.weights.snapshot_download", fetch)
    return tmp_path


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a README command in this process, with fewer prompts and steps where it trains."""
    words = shlex.split(line)
    if words[1] in ("distill", "train"):
        words += ["--workers=0", "--held-back=0"]
        fewer = {"--steps": "1", "--batch-size": "1", "--adapt-steps": "1", "--train-size": "48x256"}
        for option, value in fewer.items():
            if option in words:
                words[words.index(option) + 1] = value
            elif option in ("--steps", "--batch-size"):
                words += [option, value]
    if words[1] in ("distill", "masks"):
        words.append("--points-per-side=2")
    if words[1] == "assistant":
        fewer = {"--steps": "2", "--until": "1", "--crop": "32x64,64x32,32x32", "--batch-size": "2"}
        words = [fewer.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        small = {"--steps": "2", "--crop": "32x64", "--held-out": "1", "--workers": "0", "--device": "cpu"}
        words += [part for option, value in small.items() if option not in words for part in (option, value)]
    monkeypatch.setattr(sys, "argv", words)
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code in (0, None), line  # noqa: PT017 (a command may end by returning or by exiting)


TRAINING = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.S)


@pytest.mark.parametrize("line", [line for text in TRAINING for line in text.strip().splitlines()])
def test_commands_of_the_training_guide(line: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with a launcher: the launcher takes its options, and what it starts runs here on one process."""
    launcher, module, words = line.partition("-m goodsam ")
    if module:
        accelerated = launcher.startswith("accelerate launch ")
        parser = launch_command_parser() if accelerated else get_args_parser()
        given = shlex.split(launcher.replace("RANK", "1"))[2 if accelerated else 1 :]
        assert parser.parse_args([*given, "-m", "goodsam"]).training_script == "goodsam"
        line = f"goodsam {words}"
    stage = shlex.split(line)[1]
    if stage == "train":
        run("goodsam masks PHOTOS --out RUN", monkeypatch)
        run("goodsam label PHOTOS --out RUN", monkeypatch)
    run(line, monkeypatch)
    assert (desk / "RUN" / "student" / "model.safetensors").exists()


def test_commands_of_the_guide_to_assistants(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "assistants.md").read_text(), re.S)
    (classes,) = (text for kind, text in guide if kind == "yaml")
    (desk / "classes.yaml").write_text(classes)
    tiny.write_panoramas(desk / "IMAGES", 3, (64, 96))
    for path in (desk / "IMAGES").iterdir():
        Image.fromarray(np.zeros((64, 96), dtype=np.uint8)).save(desk / "LABELS" / path.name)
    for name, other in (("TEST_IMAGES", "IMAGES"), ("TEST_LABELS", "LABELS"), ("PANORAMAS", "PHOTOS")):
        shutil.copytree(desk / other, desk / name)
    lines = [line for kind, text in guide if kind == "sh" for line in text.strip().splitlines()]
    assert [line.split()[1] for line in lines].count("assistant") == 5
    for line in lines:
        run(line.replace("--scenes 1200", "--scenes 3 --size 64x96").replace("--workers 2", "--workers 1"), monkeypatch)
    for name in ("ASSISTANT", "SMALL_ASSISTANT", "FREE_ASSISTANT", "EARLY", "STREET_ASSISTANT"):
        assert (desk / name / "model.safetensors").exists()
    assert "non-commercial" in (desk / "SMALL_ASSISTANT" / "README.md").read_text()
    assert "\nlicense: apache-2.0\n" in (desk / "STREET_ASSISTANT" / "README.md").read_text()
    assert (desk / "RUN" / "student" / "model.safetensors").exists()


def test_there_are_commands() -> None:
    assert len(GOODSAM) >= 10
    assert set(COMMANDS) - set(GOODSAM) == {"make demo", "make test", 'pip install ".[onnx]"'}


def test_make_has_the_targets_that_the_readme_names() -> None:
    for target in ("demo", "test", "install", "lint"):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_make_demo_runs_the_demo() -> None:
    """What `goodsam demo` does is tested in tests/demo."""
    command = ["make", "--dry-run", "--no-print-directory", "demo"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said.splitlines()[-1].endswith("bin/goodsam demo --out goodsam-demo")


def test_pip_takes_the_package_and_its_extra() -> None:
    """Without fetching anything: what is installed already is enough to build the metadata and meet it."""
    (line,) = (line for line in COMMANDS if line.startswith("pip install"))
    offline = ["--dry-run", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([sys.executable, "-m", *shlex.split(line), *offline], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("line", [line for line in GOODSAM if line.startswith("goodsam distill")])
def test_distill_commands(line: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(line, monkeypatch)
    assert (desk / "RUN" / "student" / "model.safetensors").exists()
    assert len(list((desk / "RUN" / "labels").iterdir())) == 2


def test_the_paper_s_weights_are_recorded_with_their_licences(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("goodsam distill PHOTOS --out RUN", monkeypatch)
    weights = {item["id"]: item["licence"] for item in yaml.safe_load(Path("RUN/run.yaml").read_text())["weights"]}
    assert set(weights) == {
        "facebook/sam-vit-huge", "nvidia/segformer-b5-finetuned-cityscapes-1024-1024", "nvidia/mit-b0",
    }  # fmt: skip
    assert weights["facebook/sam-vit-huge"] == "Apache-2.0"
    assert "non-commercial" in weights["nvidia/mit-b0"]
    assert "non-commercial" in Path("RUN/student/README.md").read_text()
    assert sorted(path.name for path in Path("RUN/features").iterdir()) == [
        "pano00.npz", "pano01.npz", "pca.safetensors",
    ]  # fmt: skip
    entry = Path("RUN/train/metrics.jsonl").read_text()
    assert "feat3" in entry
    assert "feat4" in entry


def test_the_commands_that_build_on_each_other(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(next(line for line in GOODSAM if "--sam regions" in line), monkeypatch)
    shutil.rmtree(desk / "LABELS_OUT", ignore_errors=True)
    for line in GOODSAM:
        if line.startswith("goodsam push"):
            run(line, monkeypatch)
        if line.startswith("goodsam predict"):
            run(line.replace("--out LABELS", "--out LABELS_OUT"), monkeypatch)
        if line.startswith("goodsam evaluate") and "folder:" in line:
            run(f"{line},cityscapes19" if "student" not in line else f"{line},{_own_classes(desk)}", monkeypatch)
        if line.startswith("goodsam compare"):
            run(line.replace("IMAGES,LABELS", f"IMAGES,LABELS,{_own_classes(desk)}"), monkeypatch)
        if line.startswith("goodsam review"):
            run(line, monkeypatch)
        if line.startswith("goodsam inspect"):
            run(line.replace("PANORAMA", "pano01"), monkeypatch)
    assert (desk / "RUN" / "inspect" / "pano01.jpg").exists()
    assert (desk / "COMPARED" / "compare.html").exists()
    assert len(list((desk / "TO_CORRECT" / "images").iterdir())) == 2
    assert (desk / "cache" / "models--USER--NAME" / "refs" / "main").exists()
    assert (desk / "LABELS_OUT" / "labels" / "pano00.png").exists()
    assert (desk / "LABELS_OUT" / "overlay" / "pano00.jpg").exists()
    assert (desk / "LABELS_OUT" / "shares.csv").read_text().startswith("image,road,sky,building,vegetation\n")


def _own_classes(desk: Path) -> str:
    """The tiny assistant's classes as a label set."""
    (desk / "own.yaml").write_text(yaml.safe_dump({"name": "own", "classes": {name: {} for name in tiny.CLASSES}}))
    return "own.yaml"


def test_the_assistant_of_one_s_own(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = (line for line in GOODSAM if line.startswith("goodsam assistant"))
    tiny.write_panoramas(desk / "IMAGES", 2, (64, 96))
    for path in (desk / "IMAGES").iterdir():
        Image.fromarray(np.zeros((64, 96), dtype=np.uint8)).save(desk / "LABELS" / path.name)
    run(line, monkeypatch)
    assert (desk / "MY_ASSISTANT" / "model.safetensors").exists()


def test_the_street_world_commands(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (render,) = (line for line in GOODSAM if line.startswith("goodsam streetworld"))
    (score,) = (line for line in GOODSAM if "streetworld:WORLD" in line)
    run(render.replace("--scenes 20", "--scenes 1 --size 40x208"), monkeypatch)
    assert (desk / "WORLD" / "labels" / "00000.png").exists()
    run(f"{score} --out WORLD", monkeypatch)
    assert (desk / "WORLD" / "metrics.json").exists()


def test_the_shard_commands(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for line in GOODSAM if line.split()[1] in ("masks", "label", "train")]
    assert len(lines) == 6
    for line in lines:
        run(line, monkeypatch)
    assert (desk / "RUN" / "student" / "model.safetensors").exists()


def test_the_python_of_the_readme(desk: Path) -> None:
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    space: dict[str, object] = {}
    exec(code.replace("steps=2000", "steps=1, workers=0, batch_size=1, device='cpu'"), space)
    prediction = space["prediction"]
    assert isinstance(prediction, goodsam.predictor.Prediction)  # type: ignore[attr-defined]
    assert prediction.labels.shape == tiny.SIZE


def test_examples_run_and_are_short(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        "distill": ["PHOTOS", "RUN", "segmenter.onnx", "1"],
        "predict": ["RUN/student", "photo.jpg"],
        "ensemble": ["photo.jpg", "segmenter.onnx"],
    }
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(arguments)
    for name, given in arguments.items():
        path = ROOT / "examples" / f"{name}.py"
        assert len(path.read_text().splitlines()) <= 40
        monkeypatch.setattr(sys, "argv", [str(path), *given])
        runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert "classes: road, sky, building, vegetation" in said
    assert "% of the view" in said
    assert "masks changed the class" in said
    assert (desk / "overlay.jpg").exists()
    assert (desk / "ensemble.png").exists()
