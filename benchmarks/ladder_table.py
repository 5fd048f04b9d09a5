"""The ladder's results as tables: for the terminal, and in Markdown for docs/results.md."""

from collections.abc import Sequence
from typing import Any

from rich.table import Column, Table

HEADERS = ("step", "mIoU", "boundary F1", "seam mIoU", "s per panorama", "mIoU more, 95 % interval", "than")


def lines(result: dict[str, Any], data: str) -> list[tuple[str, ...]]:
    """The cells of one table: a line per rung, and per further reference of a rung; percent.

    Args:
        result: what `--json` holds.
        data: strips or spheres.
    """
    table: list[tuple[str, ...]] = []
    for row in result["rows"]:
        if row["data"] != data:
            continue
        name = row["rung"]
        if row["images"] < result["data"][data]["images"]:
            name = f"{name} (first {row['images']})"
        figures = [percent(row[name]) for name in ("miou", "boundary_f1", "seam_miou")]
        figures.append(f"{row['seconds'] / row['images']:.2f}")
        differences = [(_difference(item), item["reference"]) for item in row["compared"]] or [("-", "-")]
        for place, difference in enumerate(differences):
            table.append((*((name, *figures) if place == 0 else ("",) * 5), *difference))
    return table


def _difference(item: dict[str, Any]) -> str:
    text = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * item[key] for key in ("difference", "low", "high")))
    return text if item["seeds"] == 1 else f"{text} ({item['seeds']} seeds)"


def percent(value: float | None) -> str:
    """A share (0..1) with two digits, - for none."""
    return "-" if value is None else f"{100 * value:.2f}"


def kinds(result: dict[str, Any]) -> dict[str, str]:
    """Kind of panorama -> a line about them."""
    return {
        name: f"{facts['images']} {name}, {facts['size'][0]}x{facts['size'][1]} pixels"
        for name, facts in result["data"].items()
        if name != "unlabelled"
    }


def show(result: dict[str, Any]) -> list[Table]:
    """Tables for the terminal."""
    tables = []
    for data, title in kinds(result).items():
        table = Table(*(Column(header, no_wrap=True) for header in HEADERS), title=title)
        for line in lines(result, data):
            table.add_row(*line)
        tables.append(table)
    return tables


def markdown(result: dict[str, Any]) -> str:
    """The page's tables: rungs on each kind of panorama, the scales, seconds of the stages, machine."""
    parts = []
    for data, title in kinds(result).items():
        parts.append(f"**{title[0].upper()}{title[1:]}** (percent):\n\n{_table(HEADERS, lines(result, data))}")
    scales = [
        (item["data"], f"{item['scale']:g}", f"{item['confidence']:.4f}", percent(item["dev_miou"]), _tick(item))
        for item in result["scales"]
    ]
    headers = ("panoramas", "scale", "mean confidence, unlabelled", "mIoU, dev", "chosen")
    parts.append(f"The scale of the tuned assistant is chosen by confidence alone:\n\n{_table(headers, scales)}")
    stages = "; ".join(f"{name} {seconds:.0f} s" for name, seconds in result["stages"].items())
    parts.append(f"Stages that rungs share: {stages}.")
    machine, options = result["machine"], result["options"]
    parts.append(
        f"{result['data']['unlabelled']['images']} unlabelled strips; students t from `{options['start']}`, "
        f"{options['steps']} steps of {options['batch_size']} at {options['train_size']}; teacher "
        f"`{options['sam']}`, assistant `{options['assistant']}`. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['threads']} thread(s), {machine['device']}, torch {result['versions']['torch']}."
    )
    return "\n\n".join(parts) + "\n"


def _tick(item: dict[str, Any]) -> str:
    return "yes" if item["chosen"] else ""


def _table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = [f"| {' | '.join(headers)} |", "|" + "---|" * len(headers)]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])
