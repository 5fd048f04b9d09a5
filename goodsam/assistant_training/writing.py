"""The folder of a trained assistant, in Hugging Face format."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from goodsam import __version__, files, weights
from goodsam.assistant_training.card import Made, assistant_card, shown_data
from goodsam.assistant_training.model import Trainee
from goodsam.assistant_training.validation import HeldOut
from goodsam.card import shown
from goodsam.errors import GoodSAMError

RECORD = "training.json"
"""What the folder was made with; only a folder that has it is written over."""


def round_to_half(trainee: Trainee) -> None:
    """Give float32 weights the values that float16 keeps of them.

    Raises:
        GoodSAMError: one is too large for float16.
    """
    trainee.half()
    if not all(value.isfinite().all() for value in trainee.state_dict().values()):
        raise GoodSAMError("--half: a weight is larger than 65504, which float16 does not hold; leave out --half.")
    trainee.float()


def write_assistant(out: Path, trainee: Trainee, made: Made, found: HeldOut | None) -> None:
    """Write the folder: whole, or not at all.

    Args:
        out: the folder.
        trainee: the model, on the CPU; with `--half` it is float16 afterwards.
        made: how.
        found: its scores; None where nothing is held out.
    """
    processor = _processor(trainee, made.start.folder)
    card = assistant_card(out, trainee, made, found)
    model: Any = trainee.model.half() if made.options.half else trainee.model
    with files.whole_folder(out) as folder:
        model.save_pretrained(folder)
        files.write_json(folder / "preprocessor_config.json", processor)
        files.write_json(folder / RECORD, _record(made, found))
        files.write_text(folder / "README.md", card)


def _processor(trainee: Trainee, start: Path | None) -> dict[str, Any]:
    """Of the model that it starts from; a SegFormer's own photos are neither resized nor are their labels shifted."""
    given = {} if start is None else weights.read_config(start, "preprocessor_config.json")
    if start is not None and not given:
        given = weights.read_config(start, "processor_config.json").get("image_processor", {})
    if trainee.config.model_type != "segformer" and given:
        return {**given, "do_reduce_labels": False}
    value = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": trainee.normalisation.white / 255,
        "do_normalize": True,
        "image_mean": list(trainee.normalisation.mean),
        "image_std": list(trainee.normalisation.std),
        "do_reduce_labels": False,
    }
    return value | ({"do_flip_channel_order": True} if trainee.normalisation.bgr else {})


def _record(made: Made, found: HeldOut | None) -> dict[str, Any]:
    """For machines, what the card says to people; folders of this machine by their last part alone."""
    options = {**asdict(made.options), "init": shown(made.options.init)}
    return {
        "goodsam": __version__,
        "fingerprint": made.fingerprint,
        "steps": made.steps,
        "data": shown_data(made.data),
        "photos": len(made.photos.seen),
        "options": options,
        "weights": [{**item.to_json(), "id": shown(item.id)} for item in made.start.weights],
        "seconds": round(made.seconds, 1),
        "held_out": None if found is None else asdict(found),
    }
