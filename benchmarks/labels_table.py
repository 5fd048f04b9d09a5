"""Figures of `labels.py`: what its processes said to rows, aims and tables."""

import os
import platform
from importlib import metadata
from typing import Any

import numpy as np
from labels_bench import OURS, PEERS, Bench, logits_apart
from ladder import cpu
from ladder_scores import compared, read_counts, row_of
from ladder_table import percent

from goodsam import __version__, files
from goodsam.views import lay_views

COST = ("way", "prompts", "masks", "masks, s", "encoder", "decoder", "others, %")
PARTS = ("seconds", "encoder", "decoder")
AIMS = {"ours, balanced": (8.0, 0.0), "ours, fast": (20.0, -0.01)}
"""Way -> how many times faster than the faster peer, and the least difference of mIoU to either, 0..1."""
LARGEST_SHARE = 0.2
"""What everything but encoder and decoder may take of the masks' time."""


def strip_rows(bench: Bench) -> dict[str, dict[str, Any]]:
    """A row for each way: means of a panorama, scores of all strips, and differences of mIoU to the peers."""
    stems, pictures = bench.pictures.stems, bench.pictures
    views = len(lay_views(pictures.panorama(stems[0]).geometry))
    assistant = float(np.mean([_assistant_seconds(bench, stem) for stem in stems]))
    counted = {way: read_counts(bench.folder(way), pictures) for way in bench.ways}
    rows = {}
    for way in bench.ways:
        facts = [files.read_json(bench.folder(way) / "facts" / f"{stem}.json") for stem in stems]
        masks, fusion = ([item[part] for item in facts] for part in ("masks", "fusion"))
        mean = {name: float(np.mean([item[name] for item in masks])) for name in (*PARTS, "prompts", "kept")}
        mean["hints"] = float(np.mean([item.get("hints", 0.0) for item in masks]))
        view = {name: max(1, round(mean[name] / views)) for name in ("prompts", "kept")}
        scores = row_of(way, pictures, counted[way])
        rest = {"assistant": assistant, "fusion": float(np.mean([item["seconds"] for item in fusion]))}
        rows[way] = {
            **{name: scores[name] for name in ("miou", "boundary_f1", "pixel_accuracy", "per_class")},
            **{"masks": mean, "view": view, "rest": rest, "share_of_others": _others(mean)},
            "seconds": mean["seconds"] + sum(rest.values()),
            "peak_mb": max(item["peak_mb"] for item in masks),
            "fusion_peak_mb": max(item["peak_mb"] for item in fusion),
            "threads": masks[0]["threads"],
            "torch": masks[0]["torch"],
            "compared": [
                compared(peer, [counted[peer]["confusion"]], [counted[way]["confusion"]])
                for peer in PEERS
                if way in OURS and peer in counted
            ],
        }
    return _with_ratios(rows)


def full_rows(full: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """A row for each way at full size: medians over turns, and how much more than the encoder alone it takes."""
    rows = {}
    for way, turns in full.items():
        masks = {name: float(np.median([item[name] for item in turns])) for name in (*PARTS, "prompts", "kept")}
        rows[way] = {
            "masks": masks,
            "share_of_others": _others(masks),
            "to_encoder": masks["seconds"] / masks["encoder"],
        }
        rows[way] |= {"seconds": masks["seconds"], "peak_mb": max(item["peak_mb"] for item in turns)}
    return _with_ratios(rows)


def _assistant_seconds(bench: Bench, stem: str) -> float:
    return files.read_json(bench.common(stem)["probabilities"].with_suffix(".json"))["seconds"]


def _others(masks: dict[str, float]) -> float:
    """Share of the masks' time outside encoder and decoder, 0..1."""
    return 1 - (masks["encoder"] + masks["decoder"]) / masks["seconds"]


def _with_ratios(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows with how many times faster each is than the faster peer: all of it, and the masks alone."""
    peers = [row for way, row in rows.items() if way in PEERS]
    for row in rows.values():
        row["times"] = min(peer["seconds"] for peer in peers) / row["seconds"] if peers else None
        masks = row["masks"]["seconds"]
        row["times_masks"] = min(peer["masks"]["seconds"] for peer in peers) / masks if peers else None
    return rows


def aims_of(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What is aimed at, what was reached, and whether that is enough; without peers the shares alone."""
    aims: list[dict[str, Any]] = []
    for way, (times, miou) in AIMS.items():
        row = rows.get(way, {"compared": []})
        if row["compared"]:
            worst = min(item["difference"] for item in row["compared"])
            aims.append(_aim(f"{way}: times faster, at least", times, row["times"], row["times"] >= times))
            aims.append(_aim(f"{way}: mIoU more, at least", miou, worst, worst >= miou))
    for way in rows:
        if way in PEERS:
            continue
        share = rows[way]["share_of_others"]
        aims.append(_aim(f"{way}: share outside the network, below", LARGEST_SHARE, share, share < LARGEST_SHARE))
    return aims


def _aim(name: str, aim: float, found: float, reached: bool) -> dict[str, Any]:
    return {"what": name, "aim": aim, "found": found, "reached": bool(reached)}


PLACES = ("work", "json", "data", "peers")
"""Options that say where something lies, which differs from machine to machine."""


def result_of(bench: Bench, rows: dict[str, dict[str, Any]], full: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What --json holds."""
    logits = {way: bench.folder(way) / "logits" / f"{bench.pictures.stems[0]}.npy" for way in bench.ways}
    return {
        "options": {key: value for key, value in vars(bench.options).items() if key not in PLACES},
        "strips": len(bench.pictures.stems),
        "size": bench.pictures.size,
        "rows": rows,
        "full": full,
        "aims": aims_of(rows),
        "logits_apart": logits_apart(logits),
        "machine": {"cpu": cpu(), "cores": os.cpu_count()},
        "versions": {"goodsam": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in ("torch", "transformers", "numpy")},
        "made_with": bench.made_with,
    }


def show(result: dict[str, Any]) -> str:
    """The tables in Markdown."""
    height, width = result["size"]
    head = (*COST, "hints", "assistant", "fusion", "all, s", "times faster", "of the masks", "mIoU", "boundary F1")
    lines = [_line(way, row) for way, row in result["rows"].items()]
    title = f"{result['strips']} strips of {height}x{width}, per panorama:"
    parts = [f"{title}\n\n{_table((*head, 'peak MB', 'mIoU more, 95 % interval'), lines)}"]
    if result["full"]:
        lines = [
            (way, *_cost(row), _times(row["times"]), f"{row['to_encoder']:.2f}", f"{row['peak_mb']:.0f}")
            for way, row in result["full"].items()
        ]
        title = f"One view, {result['options']['network']} with random weights:"
        parts.append(f"{title}\n\n{_table((*COST, 'times faster', 'times the encoder', 'peak MB'), lines)}")
    lines = [
        (item["what"], f"{item['aim']:g}", f"{item['found']:.3f}", "yes" if item["reached"] else "no")
        for item in result["aims"]
    ]
    return "\n\n".join([*parts, _table(("what", "aim", "found", "reached"), lines)])


def _line(way: str, row: dict[str, Any]) -> tuple[str, ...]:
    seconds = (row["masks"]["hints"], row["rest"]["assistant"], row["rest"]["fusion"], row["seconds"])
    scores = (percent(row["miou"]), percent(row["boundary_f1"]), f"{row['peak_mb']:.0f}")
    more = "; ".join(
        "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * item[key] for key in ("difference", "low", "high")))
        + f" than {item['reference']}"
        for item in row["compared"]
    )
    times = (_times(row["times"]), _times(row["times_masks"]))
    return (way, *_cost(row), *(f"{value:.2f}" for value in seconds), *times, *scores, more or "-")


def _cost(row: dict[str, Any]) -> tuple[str, ...]:
    masks = row["masks"]
    seconds = (f"{masks[name]:.2f}" for name in PARTS)
    return (f"{masks['prompts']:.0f}", f"{masks['kept']:.0f}", *seconds, f"{100 * row['share_of_others']:.0f}")


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *lines))
