"""Options of automatic mask generation and their presets."""

from dataclasses import dataclass

from goodsam.errors import GoodSAMError


@dataclass(frozen=True)
class SamOptions:
    """What is prompted and which masks are kept. The defaults are segment-anything's."""

    points_per_side: int = 32
    """Cells along each side of the image; each is asked once at most, and with the placing "grid" always."""
    placing: str = "areas"
    """Where prompts go: "areas" of the assistant and what stays open, or segment-anything's blind "grid"."""
    points_per_batch: int = 0
    """Prompts decoded at once, prompts; 0 = 64, or 4 on a CPU. Halved by itself when memory runs out; masks stay."""
    iou_threshold: float = 0.88
    """Masks whose predicted intersection over union is not above this are dropped, 0..1."""
    stability_threshold: float = 0.95
    """Masks whose stability score is not above this are dropped, 0..1; 0 = off."""
    stability_offset: float = 1.0
    """How far the mask threshold is moved both ways for the stability score, logits."""
    nms_threshold: float = 0.7
    """Of two masks whose boxes overlap by more than this, the one of lower predicted IoU is dropped, box IoU 0..1."""
    min_area: int = 0
    """Holes smaller than this are filled, islands and masks smaller than this removed, pixels; 0 = off."""
    mask_threshold: float = 0.0
    """A pixel belongs to a mask where its logit is above this, logits."""

    def __post_init__(self) -> None:
        if self.placing not in ("areas", "grid"):
            raise GoodSAMError(f"placing is {self.placing!r}; it must be areas or grid.")
        if self.points_per_side < 1:
            raise GoodSAMError(f"points_per_side is {self.points_per_side}; it must be at least 1.")
        for name in ("iou_threshold", "stability_threshold", "nms_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise GoodSAMError(f"{name} is {getattr(self, name)}; it must lie in 0..1.")
        for name in ("points_per_batch", "stability_offset", "min_area"):
            if getattr(self, name) < 0:
                raise GoodSAMError(f"{name} is {getattr(self, name)}; it must not be negative.")


# Sides of 8, 16 and 24 and the smallest area are our choice; the thresholds of "dense" are those of segment-anything's
# notebook for more masks.
PRESETS: dict[str, SamOptions] = {
    "fast": SamOptions(points_per_side=8, min_area=25),
    "balanced": SamOptions(points_per_side=16, min_area=25),
    "dense": SamOptions(points_per_side=24, iou_threshold=0.86, stability_threshold=0.92, min_area=25),
}

# The bundled teacher's embedding has a quarter of SAM's cells, and it rates its own masks lower than SAM does. Chosen
# on four strips of the street world's target-dev: fusion makes more of many masks, each by its score, than of few sure
# ones.
STREET_PRESETS: dict[str, SamOptions] = {
    "fast": SamOptions(points_per_side=4, iou_threshold=0.35, stability_threshold=0.3, min_area=25),
    "balanced": SamOptions(points_per_side=12, iou_threshold=0.35, stability_threshold=0.3, min_area=25),
    "dense": SamOptions(points_per_side=16, iou_threshold=0.35, stability_threshold=0.3, min_area=25),
}
