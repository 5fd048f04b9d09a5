"""SegFormers of random weights, by the names of their shapes."""

from typing import Any

from transformers import SegformerConfig, SegformerForSemanticSegmentation

from goodsam.errors import GoodSAMError
from goodsam.labels import LabelSet

_MIT = {"hidden_sizes": [64, 128, 320, 512], "num_attention_heads": [1, 2, 5, 8], "decoder_hidden_size": 768}
SHAPES: dict[str, dict[str, Any]] = {
    "b0": {**_MIT, "hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "b1": {**_MIT, "depths": [2, 2, 2, 2], "decoder_hidden_size": 256},
    "b2": {**_MIT, "depths": [3, 4, 6, 3]},
    "b3": {**_MIT, "depths": [3, 4, 18, 3]},
    "b4": {**_MIT, "depths": [3, 8, 27, 3]},
    "b5": {**_MIT, "depths": [3, 6, 40, 3]},
    # Our choice: half as large again as the smallest student, and small enough to come with the package.
    "street": {
        "hidden_sizes": [48, 96, 192, 288],
        "depths": [2, 2, 3, 2],
        "num_attention_heads": [1, 2, 4, 6],
        "decoder_hidden_size": 256,
    },
}


def random_segformer(shape: str | None, label_set: LabelSet) -> SegformerForSemanticSegmentation:
    """A SegFormer of random weights, without dropout: such trainings are too short to overfit.

    Raises:
        GoodSAMError: no shape, or an unknown one.
    """
    if shape not in SHAPES:
        given = "--shape is missing" if shape is None else f"--shape {shape} is unknown"
        raise GoodSAMError(f"--init random: {given}; it must be one of {', '.join(SHAPES)}.")
    config = SegformerConfig(
        **SHAPES[shape], drop_path_rate=0.0, classifier_dropout_prob=0.0, **config_of_classes(label_set)
    )
    return SegformerForSemanticSegmentation(config)


def config_of_classes(label_set: LabelSet) -> dict[str, Any]:
    """What a config of transformers says of classes, and colours and name, which it has no place for."""
    return {
        "id2label": dict(enumerate(label_set.names)),
        "label2id": {name: index for index, name in enumerate(label_set.names)},
        "goodsam": {"label_set": label_set.name, "colors": [list(color) for color in label_set.colors]},
    }
