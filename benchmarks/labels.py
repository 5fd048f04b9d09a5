"""From panoramas to the ensemble: our masks in three presets, and the usual way with the same weights.

    python benchmarks/labels.py [--small] [--json FILE] [--work DIR] [--data DIR] [--strips N] [--peers PYTHON] ...

The usual way is (a) transformers' mask-generation pipeline and (b) segment-anything's automatic mask generator, both
with their grid of 32 x 32 points, in the environment of `make peers`. All ways see the same views of the same strips,
with the bundled teacher, and all masks go through the same assistant and fusion, so that only the masks differ. Each
way runs in a process of its own, whose memory is its own, in turn with the others, strip by strip; loading models and
the first use of a network are left out. Figures of every strip and way are kept in --work: the same command goes on
where it was interrupted. Weights and options that change are noticed; after a change of code delete the folder's `ways`
and `full`.

The bundled teacher rates its own masks low: at the peers' default filters (0.88 and 0.95) nearly nothing would be
left, so they get those of our presets (0.35 and 0.3); all else of theirs is untouched. The pipeline asks SAM 2 about a
part of a view that is not square, and tells no stability, which fusion counts as 1. segment-anything has no class for
SAM 2, so its generator asks transformers' network. All ways are asked one prompt on every strip, and their raw logits
compared.

At full size: one view through a SAM ViT-B with random weights, for its cost alone. They make filters meaningless, so
the number of prompts and of kept masks is that measured with the bundled teacher, the prompts are spread evenly, and
nothing is suppressed as a duplicate.
"""

import argparse
import os
import tempfile
from pathlib import Path

from labels_bench import Bench, logits_apart, measure_full, measure_strip
from labels_shared import NETWORKS, ROOT
from labels_table import full_rows, result_of, show, strip_rows
from ladder_data import Pictures, rendered

from goodsam import files
from goodsam.config import parse_size
from goodsam.images import read_label_map
from goodsam.teachers.sam import STREET_PRESETS

SMALL = {"strips": 1, "size": "160x832", "grid": 8, "network": "tiny", "turns": 1}
"""Options of --small; any of them may still be given."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="one small strip, under 5 minutes on 2 cores")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--work", type=Path, help="keeps everything; default work/labels, with --small a temporary one")
    parser.add_argument("--data", type=Path, help="rendered strips (images/, labels/); default: rendered into --work")
    parser.add_argument("--strips", type=int, default=6, help="strips of target-test")
    parser.add_argument("--size", default="400x2048", help="of strips that are rendered, HxW")
    parser.add_argument("--assistant", default="street", help="as of goodsam distill")
    parser.add_argument("--presets", nargs="+", default=list(STREET_PRESETS), choices=list(STREET_PRESETS), help="ours")
    parser.add_argument("--peers", default=str(ROOT / ".venv-peers/bin/python"), help="their Python; none: without")
    parser.add_argument("--grid", type=int, default=32, help="points along each side of the peers' grid")
    parser.add_argument("--network", default="vit-b", choices=[*NETWORKS[1:], "none"], help="of the full-size part")
    parser.add_argument("--turns", type=int, default=2, help="runs of each way in the full-size part; medians count")
    parser.add_argument("--threads", type=int, default=0, help="of all ways; 0 = torch's own choice")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that render")
    if parser.parse_known_args(arguments)[0].small:
        parser.set_defaults(**SMALL)
    options = parser.parse_args(arguments)
    if options.peers != "none" and not Path(options.peers).exists():
        raise SystemExit(f"--peers {options.peers}: not there; run `make peers`, or leave them out with --peers none.")
    return options


def pictures_of(options: argparse.Namespace, work: Path) -> Pictures:
    """The strips: those of --data, or rendered."""
    if options.data is None:
        size = parse_size(options.size, "--size")
        return rendered(work, "target-test", "strip", size, 0, options.strips, options.workers)
    stems = tuple(files.list_images(options.data / "images"))[: options.strips]
    height, width = read_label_map(options.data / "labels" / f"{stems[0]}.png").shape
    return Pictures("strips", options.data, "strip", (height, width), stems)


def main() -> None:
    """Measure what is not measured yet and print the tables."""
    options = parse()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or (Path(temporary) if options.small else Path("work/labels"))
        bench = Bench(options, work, pictures_of(options, work))
        for stem in bench.pictures.stems:
            measure_strip(bench, stem)
            logits_apart({way: bench.folder(way) / "logits" / f"{stem}.npy" for way in bench.ways})
        rows = strip_rows(bench)
        full = {} if options.network == "none" else measure_full(bench, {way: row["view"] for way, row in rows.items()})
        result = result_of(bench, rows, full_rows(full))
    print(show(result))
    if options.json:
        files.write_json(options.json, result)


if __name__ == "__main__":
    main()
