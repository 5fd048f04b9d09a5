"""What the demo's page shows of a label map."""

import numpy as np

from goodsam.labels import IGNORE, LabelSet


def label_picture(labels: np.ndarray, truth: np.ndarray, label_set: LabelSet) -> np.ndarray:
    """A label map in its classes' colours, black where the truth has no label and nothing is scored.

    Args:
        labels: uint8 (H, W), class ids.
        truth: uint8 (H, W), class ids, 255 on the camera's own car.
        label_set: of both.
    Returns:
        uint8 (H, W, 3).
    """
    return label_set.colorize(np.where(truth == IGNORE, IGNORE, labels).astype(np.uint8))
