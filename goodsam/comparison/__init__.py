"""`goodsam compare`: several subjects in one table, and a page with the images on which they differ most.

Read in this order: `passing` (one pass over the data), `entrant`, `pictures`, `result`, `tables`, `page`.
"""

from goodsam.comparison.passing import compare
from goodsam.comparison.result import Compared, Comparison
from goodsam.comparison.tables import tables

__all__ = ["Compared", "Comparison", "compare", "tables"]
