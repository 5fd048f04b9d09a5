"""What a demo says on the terminal when it is done."""

from rich.table import Table

from goodsam.demo.page import FIGURES, NEXT, change, percent
from goodsam.demo.run import DemoResult
from goodsam.progress import duration


def tables(result: DemoResult) -> tuple[Table, Table]:
    """Figures by step with their change against the student before, and time by stage."""
    figures = Table(title="What each step brings", title_justify="left")
    figures.add_column("step")
    for _, name in FIGURES:
        figures.add_column(name, justify="right")
    start = result.metrics["start"]
    for key, evaluation in result.metrics.items():
        cells = []
        for figure, _ in FIGURES:
            value = evaluation[figure]
            against = "" if key == "start" else change(value, start[figure])
            cells.append(f"{percent(value)} {against:>5}")
        figures.add_row(result.names[key], *cells)
    times = Table(title="Time", title_justify="left")
    for name in ("stage", "done", "time"):
        times.add_column(name, justify="left" if name == "stage" else "right")
    for row in result.times:
        times.add_row(row.name, f"{row.items} {row.unit}", duration(row.seconds))
    times.add_section()
    times.add_row("all", "", duration(sum(row.seconds for row in result.times)))
    return figures, times


def farewell(result: DemoResult) -> str:
    """Where the page is, and what to run next."""
    return f"The page about it: {result.page}\nNext, on your own panoramas: {NEXT[0][1]}"
