"""Weight files: found or refused by name, never able to run code."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam import weights
from goodsam.errors import GoodSAMError


def tiny() -> SegformerForSemanticSegmentation:
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16
        )
    )


def load(folder: Path) -> SegformerForSemanticSegmentation:
    return weights.load_model(SegformerForSemanticSegmentation.from_pretrained, folder, "--init")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert weights.resolve(str(tmp_path), "--sam") == tmp_path


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoodSAMError, match=r"--sam .*: the folder has no config\.json; give a model folder"):
        weights.resolve(str(tmp_path), "--sam")


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "./some/where", "/no/where", "~/models", "../x"])
def test_what_is_neither_folder_nor_id_is_refused(name: str) -> None:
    with pytest.raises(GoodSAMError, match=rf"--sam {name}: no such folder, and not a Hugging Face id .*OWNER/NAME"):
        weights.resolve(name, "--sam")


def test_a_file_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()
    with pytest.raises(GoodSAMError, match="--sam a/b: no such folder"):
        weights.resolve("a/b", "--sam")


def test_safetensors_are_fetched_and_bin_only_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        assert name == "some/model"
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(weights, "snapshot_download", snapshot)
    assert weights.resolve("some/model", "--sam") == tmp_path
    assert ["*.safetensors" in patterns for patterns in asked] == [True, False]
    assert ["*.bin" in patterns for patterns in asked] == [False, True]
    (tmp_path / "model.safetensors").touch()
    asked.clear()
    weights.resolve("some/model", "--sam")
    assert len(asked) == 1
    assert not any(pattern.endswith(".py") or pattern == "*" for pattern in asked[0])


def test_a_hub_that_does_not_answer_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("\n  Repository Not Found.\nfor url: ...\n")

    monkeypatch.setattr(weights, "snapshot_download", offline)
    with pytest.raises(GoodSAMError) as caught:
        weights.resolve("some/model", "--assistant")
    assert str(caught.value) == (
        "--assistant some/model: not on this disk, and the Hugging Face hub does not give it (Repository Not Found). "
        "Check the spelling and the connection, or download the model elsewhere and give its folder."
    )


def test_a_model_loads(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    found = load(tmp_path)
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    tiny().config.save_pretrained(tmp_path)
    sprung = tmp_path / "sprung"
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Trap(sprung)}, protocol=2))
    with pytest.raises(GoodSAMError, match=r"--init .*pickle that would run code.*convert them to safetensors"):
        load(tmp_path)
    torch.save({"x": Trap(sprung)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(GoodSAMError, match=r"pickle that would run code"):
        load(tmp_path)
    assert not sprung.exists()
    with (tmp_path / "pytorch_model.bin").open("rb") as file:
        torch.load(file, weights_only=False)
    assert sprung.exists()  # the trap works


def test_a_plain_bin_file_loads(tmp_path: Path) -> None:
    model = tiny()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    found = load(tmp_path)
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("damage", ["cut", "text", "gone"])
def test_damaged_weights_are_named(tmp_path: Path, damage: str) -> None:
    tiny().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:900] if damage == "cut" else b"not weights at all, but long enough")
    with pytest.raises(GoodSAMError, match=rf"--init {tmp_path}: the model cannot be loaded \(.+\)\."):
        load(tmp_path)


def test_weight_files_have_hash_and_licence(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors", "c.bin"):
        (tmp_path / name).write_bytes(name.encode())
    found = weights.weight_files("nvidia/mit-b0", tmp_path)
    assert [item.file for item in found] == ["a.safetensors", "b.safetensors"]
    assert found[0].to_json() == {
        "id": "nvidia/mit-b0",
        "file": "a.safetensors",
        "sha256": hashlib.sha256(b"a.safetensors").hexdigest(),
        "licence": "NVIDIA Source Code License for SegFormer: non-commercial use only",
    }
    (tmp_path / "a.safetensors").unlink()
    (tmp_path / "b.safetensors").unlink()
    assert [item.file for item in weights.weight_files("x/y", tmp_path)] == ["c.bin"]


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (None, "unknown"),
        ("# no header", "unknown"),
        ("---\nlicense: mit\n---\n# Model", "mit"),
        ("---\nlicense: other\nlicense_name: research-only\n---\n", "research-only"),
        ("---\ntags: [a]\n---\n", "unknown"),
        ("---\n---\n", "unknown"),
        ("---\n- a list\n---\n", "unknown"),
        ("---\n{broken\n---\n", "unknown"),
    ],
)
def test_licence_is_what_the_card_says(tmp_path: Path, card: str | None, licence: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert weights.licence_of("some/model", tmp_path) == licence


def test_configs_are_read_or_named(tmp_path: Path) -> None:
    assert weights.read_config(tmp_path) == {}
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert weights.read_config(tmp_path) == {"a": 1}
    (tmp_path / "other.json").write_text("{")
    with pytest.raises(GoodSAMError, match=r"other\.json: not JSON"):
        weights.read_config(tmp_path, "other.json")
