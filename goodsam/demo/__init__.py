"""`goodsam demo`: the whole method on the bundled street world, offline, with a page that shows what each step brings.

Read in this order: `options`, `run` (the steps), `strips` (rendering), `scores`, `times`, `pictures`, `curve`,
`page`, `report`, `summary`.
"""

from goodsam.demo.options import FAST, FULL, DemoOptions
from goodsam.demo.run import DemoResult, run_demo
from goodsam.demo.summary import farewell, tables

__all__ = ["FAST", "FULL", "DemoOptions", "DemoResult", "farewell", "run_demo", "tables"]
