"""The teacher: automatic mask generation with the SAM family (SAM, SAM-HQ, SAM 2 and 2.1, EdgeTAM)."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
import transformers

from goodsam import weights
from goodsam.errors import GoodSAMError
from goodsam.teachers.mask_generator import SamTeacher
from goodsam.teachers.preprocessing import read_preprocessing
from goodsam.teachers.sam_options import PRESETS, STREET_PRESETS, SamOptions

__all__ = ["MODEL_CLASSES", "PRESETS", "STREET_PRESETS", "SamOptions", "SamTeacher", "load_sam"]

# The hub's SAM 2 and EdgeTAM checkpoints are of the video model; the image model loads its share of the weights.
MODEL_CLASSES = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamModel",
}


def load_sam(name: str, options: SamOptions, device: torch.device | str = "cpu") -> SamTeacher:
    """Load a SAM-family model as the teacher.

    Args:
        name: Hugging Face id, or a folder in Hugging Face format.
        options: one of `PRESETS` or your own.
    Raises:
        GoodSAMError: nothing by that name, another kind of model, weights that are missing, damaged or a pickle with
            code in it, a preprocessor that does not fit the model, or EdgeTAM without timm.
    """
    folder = weights.resolve(name, "--sam")
    model_type = _model_type(folder)
    model_class = getattr(transformers, MODEL_CLASSES[model_type])
    model, report = weights.load_model(
        model_class.from_pretrained,
        folder,
        "--sam",
        config=_model_config(model_class, folder),
        output_loading_info=True,
    )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise GoodSAMError(
            f"--sam {folder}: its weights lack {len(missing)} of the model's tensors ({missing[0]}, ...); "
            "download the model again."
        )
    preprocessing = read_preprocessing(folder, model_type, _image_size(model.config))
    return SamTeacher(name, model.eval().to(device), preprocessing, options, weights.weight_files(name, folder))


def _model_type(folder: Path) -> str:
    model_type = weights.read_config(folder).get("model_type")
    if model_type not in MODEL_CLASSES:
        raise GoodSAMError(
            f"{folder / 'config.json'}: model_type is {model_type!r}; --sam takes {', '.join(MODEL_CLASSES)}."
        )
    if model_type.startswith("edgetam") and importlib.util.find_spec("timm") is None:
        raise GoodSAMError(
            f"{folder / 'config.json'}: model_type {model_type!r} needs the package timm; install it with "
            "`pip install timm`, or give a SAM, SAM-HQ or SAM 2 model."
        )
    return model_type


def _model_config(model_class: Any, folder: Path) -> Any:
    """The model's configuration, under the image model's own type: transformers warns of a video checkpoint's."""
    values = {**weights.read_config(folder), "model_type": model_class.config_class.model_type}
    try:
        return model_class.config_class.from_dict(values)
    except Exception as error:  # transformers checks fields with classes of error of its own
        raise GoodSAMError(f"{folder / 'config.json'}: not a configuration of this model ({error}).") from error


def _image_size(config: Any) -> int:
    """Side of the square that the network takes, pixels; the prompt encoder of every SAM names it."""
    return int(config.prompt_encoder_config.image_size)
