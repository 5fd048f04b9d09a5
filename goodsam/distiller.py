"""Student and loss in one module: what one step of a training computes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from goodsam import targets
from goodsam.config import LossOptions, RunOptions
from goodsam.errors import GoodSAMError
from goodsam.loader import WHOLE, Sample, Scene
from goodsam.mka.balance import class_frequencies, class_weights
from goodsam.mka.loss import Batch, Loss, MKALoss, mean_loss
from goodsam.run import Input, Run
from goodsam.student import Student
from goodsam.teachers.assistant import TransformersAssistant, load_assistant


class Distiller(nn.Module):
    """Both in one, so that they are trained, and wrapped for several processes, together.

    Args:
        student: that learns.
        loss: of one level, whole panoramas or patches.
        assistant: asked for its features in every step; None where those of the run are used, or none.
    """

    def __init__(self, student: Student, loss: MKALoss, assistant: TransformersAssistant | None = None) -> None:
        super().__init__()
        self.student, self.loss = student, loss
        self._assistant = assistant  # no module, so that it is neither trained nor kept in checkpoints

    def forward(self, sample: Sample) -> Loss:
        """The mean of the losses on the whole panoramas and on their patches."""
        return mean_loss([self._level(maps, wrap=part == WHOLE) for part, maps in sample.items()])

    def _level(self, maps: dict[str, Tensor], wrap: bool) -> Loss:
        """The loss of one level.

        Args:
            maps: of B panoramas, (B, ...), or of P patches of each, (B, P, ...).
            wrap: they are whole panoramas.
        """
        if not wrap:
            maps = {name: values.flatten(0, 1) for name, values in maps.items()}
        features = {int(name[5:]): values for name, values in maps.items() if name.startswith("level")}
        if self._assistant is not None:
            features = self._assistant.predict(maps["images"]).features
        batch = Batch(maps["images"], maps["ensemble"], maps["assistant"], maps["valid"], features)
        return self.loss(self.student(batch.images, wrap=wrap), batch, wrap)


def new_distiller(
    student: Student,
    run: Run,
    inputs: Sequence[Input],
    scene: Scene,
    options: RunOptions,
    assistant: str,
    device: torch.device,
) -> Distiller:
    """The distiller of a training.

    Args:
        student: before training.
        run: whose ensembles say how frequent classes are, and whose files which features there are.
        inputs: the panoramas.
        scene: their size and classes.
        options: of the run.
        assistant: name of the one that labelled the run, asked in every step with `--features online`; in its adapted
            form where there is one.
        device: where it runs.
    """
    weights = None
    if options.loss.class_weights:
        frequencies = class_frequencies(run, inputs, len(scene.label_set))
        weights = class_weights(frequencies, options.loss.class_weights)
    name = str(run.assistant) if run.assistant.exists() else assistant
    asked = _online(name, options.loss, device)
    channels = _stored_channels(run, inputs) if asked is None else _channels(asked)
    return Distiller(student, MKALoss(options.loss, student.channels, channels, weights), asked)


def _online(name: str, options: LossOptions, device: torch.device) -> TransformersAssistant | None:
    """The assistant, where its features are asked for in every step."""
    if options.features == "stored" or not options.beta:
        return None
    assistant = load_assistant(name, None, device)
    if not isinstance(assistant, TransformersAssistant) or not _channels(assistant):
        raise GoodSAMError(f"--features online: {name} gives no features; use --features stored.")
    return assistant


def _channels(assistant: TransformersAssistant) -> dict[int, int]:
    """Level -> channels of the assistant's features."""
    said = assistant.predict(torch.zeros(1, 3, 64, 64)).features
    return {level: values.shape[1] for level, values in said.items()}


def _stored_channels(run: Run, inputs: Sequence[Input]) -> dict[int, int]:
    """Stored feature levels and their channels; {} where the run has none."""
    path = run.file("features", inputs[0].stem)
    return {level: len(values) for level, values in targets.read_features(path).items()} if path.exists() else {}
