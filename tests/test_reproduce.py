"""docs/reproduce.md and the configs of published settings: every command, from miniature data to the printed table."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import miniature
import pytest
import torch
import transformers
import yaml

from goodsam import cli
from goodsam.config import RunOptions, parse_size, read_config, run_options
from goodsam.label_colors import CLASS_COLORS
from goodsam.label_tables import ADE150_TO_STANFORD8, MAPILLARY65_TO_WILDPASS8
from goodsam.labels import LABEL_SETS, load_label_set, mapping
from goodsam.masks import read_masks
from goodsam.panorama import geometry_of
from goodsam.student import SIZES
from goodsam.targets import FEATURE_CHANNELS, FEATURE_STRIDES, KEPT
from goodsam.views import lay_views, size_of

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "reproduce.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE, re.S | re.M))
CONFIGS = {
    "densepass13": ("wildpass", "nvidia/segformer-b5-finetuned-cityscapes-1024-1024"),
    "densepass19": ("wildpass", "nvidia/segformer-b5-finetuned-cityscapes-1024-1024"),
    "wildpass": ("wildpass", "facebook/mask2former-swin-large-mapillary-vistas-semantic"),
    "stanford2d3d": ("stanford2d3d", "nvidia/segformer-b5-finetuned-ade-640-640"),
}
"""Name -> the data whose panoramas it distils, and its assistant."""
SEEN = {"wildpass": ((400, 2048), 2000), "stanford2d3d": ((2048, 4096), 1040)}
"""Data -> size of a panorama and number of those to distil."""
TINY: dict[str, Any] = {
    "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "decoder_hidden_size": 16, "sr_ratios": [1, 1, 1, 1],
}  # fmt: skip
"""A SegFormer that takes views of 16x16 pixels."""


def commands(section: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", SECTIONS[section], re.S)
    return [line for text in blocks for line in text.strip().splitlines()]


def named(names: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def segformer(names: tuple[str, ...]) -> transformers.PreTrainedModel:
    return transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**TINY, **named(names)))


def mask2former(names: tuple[str, ...]) -> transformers.PreTrainedModel:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, out_features=stages
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_layers=1, decoder_layers=2,
        num_queries=7, num_attention_heads=2, encoder_feedforward_dim=16, dim_feedforward=16, **named(names),
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config)


def sam() -> transformers.PreTrainedModel:
    vision = transformers.SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=16,
        mlp_dim=16, global_attn_indexes=[0], window_size=2, num_pos_feats=8,
    )  # fmt: skip
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=32
    )
    prompt = transformers.SamPromptEncoderConfig(hidden_size=16, image_size=64, mask_input_channels=8)
    model = transformers.SamModel(
        transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    )
    with torch.no_grad():  # its masks pass the filters: steep, and the best that can be by its own account
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.proj_out.weight *= 1e8
        model.mask_decoder.iou_prediction_head.proj_out.weight.zero_()
        model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(1)
    return model


def mit(size: str) -> transformers.PreTrainedModel:
    config = transformers.SegformerConfig(**SIZES[size], num_labels=2)
    return transformers.SegformerForImageClassification(config)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with the data sets in miniature, and a hub that has tiny models of the right classes."""
    folder = tmp_path_factory.mktemp("reproduce")
    torch.manual_seed(0)
    models = {
        "facebook/sam-vit-huge": sam(),
        "nvidia/segformer-b5-finetuned-cityscapes-1024-1024": segformer(LABEL_SETS["cityscapes19"].names),
        "nvidia/segformer-b5-finetuned-ade-640-640": segformer(ADE150_TO_STANFORD8.source),
        "facebook/mask2former-swin-large-mapillary-vistas-semantic": mask2former(MAPILLARY65_TO_WILDPASS8.source),
        "nvidia/mit-b0": mit("t"),
        "nvidia/mit-b1": mit("s"),
        "nvidia/mit-b2": mit("m"),
        "nvidia/mit-b5": transformers.SegformerForImageClassification(transformers.SegformerConfig(**TINY)),
    }
    for name, model in models.items():
        model.save_pretrained(folder / "hub" / name)
    miniature.write_wildpass(folder / "WILDPASS", labelled=2, unlabelled=2)
    miniature.write_densepass(folder / "DENSEPASS", unlabelled=0)
    areas = ("area_1", "area_3", "area_5a")
    miniature.write_stanford2d3d(folder / "STANFORD", areas)
    miniature.write_stanford2d3d(folder / "STANFORD", areas, camera="data")
    for split in ("train", "val"):
        miniature.write_cityscapes(folder / "CITYSCAPES", split, train_ids=False)
    (folder / "configs").symlink_to(ROOT / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("goodsam.weights.snapshot_download", lambda name, **_: str(folder / "hub" / name))
        yield folder
    shutil.rmtree(folder)


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the guide in this process, with fewer prompts and steps, at the size of the miniatures."""
    words = shlex.split(line)
    if words[0] != "goodsam":
        subprocess.run(words, check=True)
        return
    fewer: dict[str, str] = {}
    if words[1] in ("distill", "train"):
        fewer = {"--train-size": "64x128" if "stanford2d3d" in words[2] else "64x320", "--points-per-side": "2"}
        fewer |= {"--adapt-steps": "1", "--patches": "1", "--patch-size": "32x32", "--held-back": "0"}
    if words[1] == "assistant":
        fewer = {"--crop": "32x64", "--held-out": "1"}
    if fewer:
        fewer |= {"--steps": "1", "--batch-size": "1", "--workers": "0", "--device": "cpu"}
    words = [fewer.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    words += [part for option, value in fewer.items() if option not in words for part in (option, value)]
    monkeypatch.setattr(sys, "argv", words)
    try:
        cli.main()
    except SystemExit as ended:
        assert ended.code in (0, None), line  # noqa: PT017 (a command may end by returning or by exiting)


@pytest.mark.parametrize("section", [name for name in SECTIONS if commands(name)])
def test_commands_lead_to_tables(
    section: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in commands(section):
        capsys.readouterr()
        run(line, monkeypatch)
        said = capsys.readouterr().out
        if line.startswith("goodsam data check"):
            assert line.split()[-1] in said
            assert "labelled images (published: " in said
        if line.startswith("goodsam evaluate"):
            assert re.search(r"mIoU .* \d+\.\d\d ", said), line
        if line.startswith("goodsam compare"):
            assert said.count("student:") == 3
            assert "mIoU" in said
            assert (Path(line.split()[-1]) / "compare.json").is_file()
        if line.startswith("cp -r"):
            check_student(Path(line.split()[-1]))
    for path in desk.glob("RUN*"):
        assert any(view for masks in path.glob("masks/**/*.gz") for _, view in read_masks(masks).views)
        assert json.loads((path / "adapt.json").read_text())["finished"]
        shutil.rmtree(path)  # checkpoints of student m take hundreds of megabytes
    shutil.rmtree(desk / "STUDENTS", ignore_errors=True)


def check_student(folder: Path) -> None:
    """Size, classes and what it says it was made of are those of its setting, as its folder's name has them."""
    setting, _, size = folder.name.partition("-")
    name = {"stanford": "stanford2d3d"}.get(setting, setting)
    config, card = yaml.safe_load((folder / "config.json").read_text()), (folder / "README.md").read_text()
    assert (config["hidden_sizes"], config["depths"]) == (SIZES[size]["hidden_sizes"], SIZES[size]["depths"])
    assert config["goodsam"]["label_set"] == read_config(ROOT / "configs" / f"{name}.yaml")["label_set"]
    for weights in ("facebook/sam-vit-huge", CONFIGS[name][1], f"nvidia/mit-b{list(SIZES).index(size)}"):
        assert weights in card


def test_every_setting_has_its_section_and_every_size() -> None:
    lines = [line for section in SECTIONS for line in commands(section)]
    for name, (data, _) in CONFIGS.items():
        given = [line for line in lines if f"--config configs/{name}.yaml" in line and f" {data}:" in line]
        assert {line.partition("--student ")[2] for line in given} == {"", "s", "m"}
    assert "Nothing of this has been run on the real data yet" in GUIDE


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_hold_options_of_a_run(name: str) -> None:
    path = ROOT / "configs" / f"{name}.yaml"
    given = read_config(path)
    options, defaults = run_options(**given), RunOptions().flat()
    for key, value in given.items():
        assert defaults[key] is None or type(value) is type(defaults[key]), key  # YAML takes off for a truth value
    assert (options.teacher.sam, options.teacher.preset) == ("facebook/sam-vit-huge", "dense")
    assert options.assistant.assistant == CONFIGS[name][1]
    assert options.student.init is None, "one config serves all sizes"
    assert options.assistant.label_set in CLASS_COLORS
    size, _ = SEEN[CONFIGS[name][0]]
    assert options.level.train_size is not None
    height, width = parse_size(options.level.train_size, "--train-size")
    assert height * size[1] == width * size[0], "panoramas keep their shape"
    head = path.read_text().partition("\nsam:")[0]
    assert head.count("not measured") == 3
    assert head.count("unknown") == 3


def test_13_and_19_classes_differ_in_nothing_else() -> None:
    ours, other = (read_config(ROOT / "configs" / f"densepass{number}.yaml") for number in (13, 19))
    assert (ours.pop("label_set"), other.pop("label_set")) == ("densepass13", "cityscapes19")
    assert ours == other


def test_the_label_set_of_the_guide_fits_its_assistant(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)
    (tmp_path / "own.yaml").write_text(text)
    own = load_label_set(str(tmp_path / "own.yaml"))
    assert own.names == LABEL_SETS["wildpass8"].names
    assert mapping(MAPILLARY65_TO_WILDPASS8.source, own).sum() == 14


def rows(section: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in SECTIONS[section].splitlines() if "|" in line
    ]


def test_the_column_for_ours_is_empty() -> None:
    found = rows("Published figures")
    assert len([row for row in found if row[-1] == "ours"]) == 4
    assert {row[-1] for row in found} == {"ours", "---", ""}


def test_costs_are_those_that_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    exec(code, {})
    counted = dict(re.findall(r"^(.*): (\S+) T$", capsys.readouterr().out, re.M))
    assistants = dict(zip(("densepass", "stanford2d3d", "wildpass"), list(counted.values())[2:], strict=True))
    for row in rows("What it costs")[2:]:
        name = row[0].split(",")[0]
        size, number = SEEN["stanford2d3d" if name == "stanford2d3d" else "wildpass"]
        geometry = geometry_of(size, None, None)
        views = lay_views(geometry)
        assert row[1:3] == [f"{number:,}", str(len(views))]
        assert row[3:6] == [counted["SAM's encoder"], counted["SAM's decoder"], assistants[name.rstrip("0123456789")]]
        assert int(row[6]) == pytest.approx(number * len(views) * sum(map(float, row[3:6])) / 1000, abs=1)
        assert int(row[7]) == round(number * disk(size) / 1000)
        text = " ".join((ROOT / "configs" / f"{name}.yaml").read_text().replace("#", " ").split())
        height, width = size_of(views[0], geometry)
        assert (
            f"{number:,} panoramas x {len(views)} views = {number * len(views):,} views of {height}x{width} pix" in text
        )
        assert f"each {row[3]} T operations of SAM's encoder, up to {row[4]} T of its decoder and {row[5]} T of" in text
        assert f"up to {disk(size):.1f} MB of disk a panorama" in text


def disk(size: tuple[int, int]) -> float:
    """MB of a panorama in a run, masks left out, were nothing compressed."""
    height, width = size
    probabilities = 2 * 2 * KEPT * (height // 2) * (width // 2)
    features = sum(
        2 * FEATURE_CHANNELS * -(-height // stride) * (width // stride) for stride in FEATURE_STRIDES.values()
    )
    return (probabilities + features + 2 * height * width) / 1e6
