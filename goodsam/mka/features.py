"""Student <-> assistant, on features, level by level."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from goodsam.student import resize


class FeatureLoss(nn.Module):
    """L_feat,l: distance in direction between projected student features and the assistant's stored ones.

    L_feat,l = mean over x of v(x) (1 - cos( W_l s_l(x), f_l(x) )), v being the share of the cell that shows a scene.
    The comparison is after normalisation, so that what counts is which features respond and not how strongly (our
    choice).

    Args:
        student_channels: D_l of the student, level 1 first.
        target_channels: channels of the assistant's features, by level: 3 and 4 stored, 1 to 4 online.
    """

    def __init__(self, student_channels: Sequence[int], target_channels: Mapping[int, int]) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(
            {
                str(level): nn.Conv2d(student_channels[level - 1], channels, 1)
                for level, channels in target_channels.items()
            }
        )

    def forward(
        self, features: Sequence[Tensor], targets: Mapping[int, Tensor], valid: Tensor, wrap: bool
    ) -> dict[int, Tensor]:
        """The loss of each level.

        Args:
            features: of the student, level 1 first, (B, D_l, h_l, w_l).
            targets: of the assistant, level -> (B, D, h, w); the student's are resized to them.
            valid: float (B, H, W) of any size, where there is a scene.
            wrap: the width spans 360 degrees.
        """
        losses = {}
        for level, target in targets.items():
            projected = self.projections[str(level)](features[level - 1])
            projected = resize(projected, target.shape[-2:], wrap)
            seen = F.adaptive_avg_pool2d(valid[:, None].float(), (target.shape[-2], target.shape[-1]))[:, 0]
            distance = 1 - F.cosine_similarity(projected.float(), target.float(), dim=1)
            losses[level] = (seen * distance).mean()
        return losses
