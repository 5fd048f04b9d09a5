"""Weight files: found on the hub or on disk, named with hash and licence, never able to run code."""

import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError

from goodsam import files
from goodsam.errors import GoodSAMError, first_line

log = logging.getLogger(__name__)
T = TypeVar("T")

KNOWN_LICENCES = {
    "nvidia/": "NVIDIA Source Code License for SegFormer: non-commercial use only",
    "facebook/sam": "Apache-2.0",
    "facebook/mask2former-swin": "MIT code; weights trained on data with terms of its own (Cityscapes: non-commercial)",
}

INHERITED = "inherited_licences"
"""Key in the header of a student's card: the licences of the weights that it was made from, a list."""
STREET = "street"
"""Name of the bundled models of the street world, for `--sam`, `--assistant`, `--init` and as a student."""
_ASSETS = Path(__file__).parent / "assets"
_STREET_FOLDERS = {
    "--sam": "street-teacher",
    "--assistant": "street-assistant",
    "--init": "street-start",
    "student": "street-start",
}


@dataclass(frozen=True)
class WeightFile:
    """One file of weights, as `run.yaml` records it."""

    id: str
    """The hub id or path that was asked for."""
    file: str
    """Its name."""
    sha256: str
    licence: str
    """What its model card or metadata says; "unknown" where nothing does."""

    def to_json(self) -> dict[str, str]:
        """A plain dictionary."""
        return asdict(self)


def resolve(name: str, option: str) -> Path:
    """The local folder of a model: itself, a bundled one, or what the Hugging Face hub has by that id.

    Safetensors are fetched; a `.bin` only where a model has nothing else.

    Args:
        name: "street", a folder or a hub id. A folder of one's own that is named street is ./street.
        option: the option that named it, for the error ("--sam").
    Raises:
        GoodSAMError: neither a folder with a config.json nor a model that the hub gives.
    """
    if name == STREET:
        return _ASSETS / _STREET_FOLDERS[option]
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise GoodSAMError(
                f"{option} {name}: the folder has no config.json; give a model folder in Hugging Face format."
            )
        return folder
    if folder.exists() or not is_hub_id(name):
        raise GoodSAMError(f"{option} {name}: no such folder, and not a Hugging Face id of the form OWNER/NAME.")
    try:
        found = Path(snapshot_download(name, allow_patterns=["*.json", "merges.txt", "*.safetensors", "README.md"]))
        if not list(found.glob("*.safetensors")):
            found = Path(snapshot_download(name, allow_patterns=["*.json", "merges.txt", "*.bin", "README.md"]))
    except Exception as error:  # the hub's client raises half a dozen kinds for "not there" and "not reached"
        raise GoodSAMError(
            f"{option} {name}: not on this disk, and the Hugging Face hub does not give it ({first_line(error)}). "
            "Check the spelling and the connection, or download the model elsewhere and give its folder."
        ) from error
    return found


def is_hub_id(name: str) -> bool:
    """Whether a name has the form OWNER/NAME that models have on the Hugging Face hub."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def load_model(loader: Callable[..., T], folder: Path, option: str, **options: Any) -> T:
    """Call a transformers `from_pretrained` on a local folder so that nothing in the folder is executed.

    Weights stored in half precision become float32, in which everything here computes unless autocast is on.

    Raises:
        GoodSAMError: the weights need code to be read, are damaged, or do not fit the model.
    """
    try:
        options = {"dtype": torch.float32, **options}
        return loader(folder, local_files_only=True, trust_remote_code=False, weights_only=True, **options)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, OSError, ValueError, KeyError, ImportError) as error:
        text = str(error)
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in text or "torch.load" in text:
            raise GoodSAMError(
                f"{option} {folder}: its weights are a pickle that would run code when loaded, which is refused; "
                "convert them to safetensors with the tool that made them."
            ) from error
        raise GoodSAMError(f"{option} {folder}: the model cannot be loaded ({first_line(error)}).") from error


def weight_files(name: str, folder: Path) -> tuple[WeightFile, ...]:
    """Hash and licence of every weight file in a model folder, safetensors before `.bin`."""
    found = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    licence = licence_of(name, folder)
    return tuple(WeightFile(name, path.name, files.sha256_of(path), licence) for path in found)


def licence_of(name: str, folder: Path) -> str:
    """The licence that a model card names, or what is known of the id, or "unknown"."""
    for prefix, licence in KNOWN_LICENCES.items():
        if name.startswith(prefix):
            return licence
    card = folder / "README.md"
    if card.is_file():
        text = card.read_text(errors="replace")
        if text.startswith("---"):
            try:
                header = yaml.safe_load(text.split("---")[1]) or {}
                if isinstance(header.get(INHERITED), list):
                    return "; ".join(map(str, header[INHERITED])) or "unknown"
                return str(header.get("license_name") or header.get("license") or "unknown")
            except (yaml.YAMLError, AttributeError):
                return "unknown"
    return "unknown"


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A model folder's JSON file, or {} where it has none."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise GoodSAMError(f"{path}: not JSON ({error}).") from error
