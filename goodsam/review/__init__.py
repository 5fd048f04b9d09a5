"""Labels out to annotation tools, and what a person corrected there back into the run."""

from goodsam.review.incoming import bring_back
from goodsam.review.outgoing import TOOLS, write_review

__all__ = ["TOOLS", "bring_back", "write_review"]
