"""`goodsam VERB`: option parsing only."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import App, Parameter
from cyclopts.config import Dict
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from goodsam import __version__
from goodsam.assistant_training.options import AssistantTrainOptions
from goodsam.config import Device, RunOptions, ScoringOptions, read_config
from goodsam.errors import GoodSAMError

T = TypeVar("T")
log = logging.getLogger(__name__)
console = Console(stderr=True)

app = App(
    name="goodsam",
    version=f"goodsam {__version__}",
    help="From a folder of unlabelled 360-degree panoramas to a small model that labels every pixel of such panoramas.",
    help_on_error=False,
    suppress_keyboard_interrupt=False,  # `_sentences` says what becomes of the work
)

app.meta.suppress_keyboard_interrupt = False  # an app of its own, which passes nothing on

assistant = App(name="assistant", help="Assistants of one's own, from labelled photos.")
app.command(assistant)

data_sets = App(name="data", help="Published data sets on disk.")
app.command(data_sets)

Panoramas = Annotated[
    str, Parameter(help="Folder of panoramas, sub-folders included, one panorama, or a data set: wildpass:ROOT.")
]
Out = Annotated[Path, Parameter(help="Run folder; the same command on the same folder resumes.")]
Options = Annotated[RunOptions | None, Parameter(name="*")]
Scoring = Annotated[ScoringOptions | None, Parameter(name="*")]
Config = Annotated[
    Path | None,
    Parameter(help="YAML file of `option: value` lines, or a run.yaml; options on the command line come first."),
]


def _is_helper() -> bool:
    """Whether this is one of several processes of a training, and not the first: it works, and the first one talks."""
    return os.environ.get("RANK", "0") != "0"


class RichProgress:
    """Bars with items done, time gone and time left, on a terminal; nothing where output is not one."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal or _is_helper(),
        )
        self._task: TaskID | None = None

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Yield the items under a bar."""
        with self._bars:
            self._task = self._bars.add_task(what, total=total, text="")
            for item in items:
                yield item
                self._bars.advance(self._task)
            self._bars.remove_task(self._task)
            self._task = None

    def note(self, text: str) -> None:
        """A short text beside the bar."""
        if self._task is not None:
            self._bars.update(self._task, text=text)


def _run(panoramas: str, out: Path, options: RunOptions | None, stages: tuple[str, ...] | None = None) -> None:
    from goodsam import pipeline

    _quiet()
    pipeline.distill(panoramas, out, options or RunOptions(), stages or pipeline.STAGES, RichProgress())


def _quiet() -> None:
    """No bars of transformers for reading and writing one file; the hub's, for downloads, stay."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


@app.command
def distill(panoramas: Panoramas, *, out: Out, options: Options = None) -> None:
    """Make masks and labels of unlabelled panoramas, and train a student on them. Run again to resume."""
    _run(panoramas, out, options)
    log.info("student: %s; next: goodsam predict %s PHOTO... --out DIR", out / "student", out / "student")


@app.command
def masks(panoramas: Panoramas, *, out: Out, options: Options = None) -> None:
    """First stage alone: the teacher's masks of every view. Same options as distill."""
    _run(panoramas, out, options, ("masks",))


@app.command
def adapt(panoramas: Panoramas, *, out: Out, options: Options = None) -> None:
    """Second stage alone: the assistant adapted to the panoramas without labels, for --adapt-steps steps."""
    _run(panoramas, out, options, ("adapt",))


@app.command
def label(panoramas: Panoramas, *, out: Out, options: Options = None) -> None:
    """Third stage alone: the assistant's probabilities, fused with the masks into ensemble and label maps."""
    _run(panoramas, out, options, ("label",))


@app.command
def train(panoramas: Panoramas, *, out: Out, options: Options = None) -> None:
    """Fourth stage alone: the student. On several GPUs: accelerate launch -m goodsam train ..."""
    _run(panoramas, out, options, ("train",))


@app.command
def predict(
    model: Annotated[
        str, Parameter(help="RUN/student, any SegFormer folder in Hugging Face format, or OWNER/NAME on the hub.")
    ],
    inputs: Annotated[list[Path], Parameter(help="Images and folders of images.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for label maps, overlays and shares.csv.")],
    format: Annotated[
        str,
        Parameter(help="What to write, separated by commas: labels, overlay, color, confidence."),
    ] = "labels,overlay",
    wrap: Annotated[bool, Parameter(help="Images span 360 degrees; --no-wrap for ordinary photographs.")] = True,
    width: Annotated[int | None, Parameter(help="Pixels at which the student sees them; default as trained.")] = None,
    vfov: Annotated[float | None, Parameter(help="Vertical field of view, degrees; default 360 * H / W.")] = None,
    horizon: Annotated[float | None, Parameter(help="Row of the horizon, pixels from the top; default H / 2.")] = None,
    strict: Annotated[bool, Parameter(help="Stop at the first image that cannot be read.")] = False,
    device: Annotated[Device, Parameter(help="auto takes CUDA, then Apple's GPU, then the CPU.")] = "auto",
) -> None:
    """Label images: uint8 label maps of the images' own size, colour overlays, class shares by solid angle (CSV)."""
    from goodsam import predictor

    _quiet()
    predictor.predict_files(
        predictor.load(model, device),
        inputs,
        out,
        formats=[name.strip() for name in format.split(",") if name.strip()],
        wrap=wrap,
        width=width,
        vfov=vfov,
        horizon=horizon,
        strict=strict,
        progress=RichProgress(),
    )


@app.command
def inspect(
    run: Annotated[Path, Parameter(help="Run folder with masks and labels.")],
    stems: Annotated[list[str], Parameter(help="Names of panoramas, as those of the label maps without .png.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Folder for the pictures; default RUN/inspect.")] = None,
) -> None:
    """One picture per panorama of every step: views, masks, borders, assistant, what masks say, ensemble, student."""
    from goodsam import inspection

    _quiet()
    for path in inspection.inspect_run(run, stems, out):
        log.info("inspect: %s", path)


@app.command
def review(
    run: Annotated[Path, Parameter(help="Run folder with labels.")],
    /,
    *,
    to: Annotated[
        Literal["coco", "cvat", "label-studio"] | None, Parameter(help="Write labels and images for this tool.")
    ] = None,
    from_: Annotated[
        Path | None,
        Parameter(name="--from", help="Bring corrections back: what a tool exported, a file, zip or folder."),
    ] = None,
    out: Annotated[Path | None, Parameter(help="With --to: folder to write; default RUN/review/TOOL.")] = None,
    stems: Annotated[
        list[str] | None,
        Parameter(help="With --to: names of panoramas, as of label maps; default all.", consume_multiple=True),
    ] = None,
    least_sure: Annotated[
        int | None, Parameter(help="With --to: only so many, those with the least confidence, uncorrected so far.")
    ] = None,
) -> None:
    """Labels out to an annotation tool with --to, and what a person corrected there back with --from."""
    from goodsam import review as reviewing

    if (to is None) == (from_ is None):
        raise GoodSAMError("review: give either --to coco, cvat or label-studio, or --from PATH.")
    if to is not None:
        reviewing.write_review(run, to, out, stems, least_sure)
        log.info("next: correct them there (docs/review.md), then goodsam review %s --from EXPORT", run)
        return
    assert from_ is not None
    if out is not None or stems or least_sure is not None:
        raise GoodSAMError("review --from: takes all of the export; leave out --out, --stems and --least-sure.")
    reviewing.bring_back(run, from_)
    log.info("next: goodsam train PANORAMAS --out %s, with the options of before; the corrections take part", run)


@app.command
def evaluate(
    subject: Annotated[
        str, Parameter(help="student:DIR or student:OWNER/NAME, assistant:ID or labels:DIR (label maps).")
    ],
    /,
    *,
    data: Annotated[
        str,
        Parameter(
            help="folder:IMAGES,LABELS[,LABELSET]: same stems, uint8 ids, 255 ignored; or a data set, such as "
            "densepass:ROOT,densepass13 (goodsam data check --help lists them)."
        ),
    ],
    out: Annotated[Path | None, Parameter(help="metrics.json, or a folder for it; interrupted, goes on there.")] = None,
    options: Scoring = None,
) -> None:
    """Score a student, an assistant or label maps against labels: a table, and metrics.json with --out."""
    from goodsam import evaluation as scoring

    _quiet()
    result = scoring.evaluate(subject, data, out=out, progress=RichProgress(), **asdict(options or ScoringOptions()))
    Console().print(scoring.table(result))


@data_sets.command(name="check")
def check_data(
    data: Annotated[
        str,
        Parameter(
            help="folder:IMAGES,LABELS[,LABELSET], or KIND:ROOT[,OPTION...], KIND one of densepass, wildpass, "
            "stanford2d3d, synpass, cityscapes, streetworld, OPTION a label set (densepass13, stanford8), a split "
            "(train, val, test), a fold (fold1, fold2, fold3), or pinhole."
        ),
    ],
    /,
    *,
    workers: Annotated[int | None, Parameter(help="Threads that read; default one a core, up to 4.")] = None,
) -> None:
    """Read every label map and image size: classes and sizes found, number of files; or the first that is wrong."""
    from goodsam.datasets import check

    Console().print(check.table(check.check_data(data, workers, RichProgress())))


@app.command
def compare(
    subjects: Annotated[
        list[str],
        Parameter(help="Two or more, each as evaluate takes it; the others are compared with the first."),
    ],
    /,
    *,
    data: Annotated[
        str, Parameter(help="Labelled images, as evaluate takes them: folder:IMAGES,LABELS[,LABELSET] or another kind.")
    ],
    out: Annotated[Path | None, Parameter(help="Folder for compare.json and compare.html, with pictures.")] = None,
    options: Scoring = None,
) -> None:
    """Score several subjects in one pass: one table, with differences to the first and what each takes."""
    from goodsam import comparison

    _quiet()
    given = asdict(options or ScoringOptions())
    result = comparison.compare(subjects, data, out=out, progress=RichProgress(), **given)
    for table in comparison.tables(result):
        Console().print(table)


@assistant.command(name="train")
def train_assistant(
    *,
    data: Annotated[
        str, Parameter(help="Labelled photos, as evaluate takes them: folder:IMAGES,LABELS[,LABELSET] or another kind.")
    ],
    out: Annotated[Path, Parameter(help="Folder of the assistant; OUT.train beside it holds what resuming takes.")],
    options: Annotated[AssistantTrainOptions | None, Parameter(name="*")] = None,
) -> None:
    """Fine-tune an assistant on labelled photos, or train one from random weights. Run again to resume."""
    from goodsam.assistant_training import training

    _quiet()
    training.train_assistant(data, out, options, RichProgress())
    log.info("assistant: %s; next: goodsam distill PANORAMAS --out RUN --assistant %s", out, out)


@app.command
def push(
    student: Annotated[Path, Parameter(help="RUN/student.")],
    repo_id: Annotated[str, Parameter(help="OWNER/NAME on the Hugging Face hub; made if it is not there.")],
    /,
    *,
    private: Annotated[bool, Parameter(help="Only you, or the organisation that OWNER is, can see it.")] = False,
    message: Annotated[str | None, Parameter(help="Of the commit; default says that GoodSAM made it.")] = None,
) -> None:
    """Share a student on the Hugging Face hub, with its card; log in first: hf auth login."""
    from goodsam import hub

    url = hub.push(student, repo_id, private=private, message=message)
    log.info("push: %s; next, anywhere: goodsam predict %s PHOTO... --out DIR", url, repo_id)


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder of the demo; the same command resumes.")] = Path("goodsam-demo"),
    fast: Annotated[bool, Parameter(help="Fewer panoramas and steps: about two minutes in place of eight.")] = False,
) -> None:
    """Show the whole method on rendered streets, offline: metrics.json and report.html."""
    from goodsam import demo as showing

    _quiet()
    result = showing.run_demo(out, showing.FAST if fast else showing.FULL, RichProgress())
    for table in showing.tables(result):
        Console().print(table)
    Console().print(showing.farewell(result), highlight=False, soft_wrap=True)


@app.command
def streetworld(
    *,
    out: Annotated[Path, Parameter(help="Folder for images/, labels/, instances/ and scenes.json.")],
    scenes: Annotated[int, Parameter(help="How many scenes, count.")] = 20,
    seed: Annotated[int | None, Parameter(help="Seed of the world; same seed, same bytes; default 0.")] = None,
    camera: Annotated[
        Literal["pinhole", "panorama", "strip"], Parameter(help="Pinhole, full sphere, or 360 x 70 degrees.")
    ] = "strip",
    style: Annotated[
        Literal["source", "target"] | None, Parameter(help="Which of the two cities; default source.")
    ] = None,
    split: Annotated[
        str | None,
        Parameter(
            help="In place of --seed and --style: source-train, source-test, target-unlabelled, target-dev (to choose "
            "options on) or target-test (for final figures)."
        ),
    ] = None,
    size: Annotated[
        str | None, Parameter(help="HxW in pixels; default 480x640, 512x1024 or 400x2048 by camera.")
    ] = None,
    first: Annotated[int, Parameter(help="Index of the first scene, count.")] = 0,
    workers: Annotated[int, Parameter(help="Processes that render side by side, count.")] = 1,
) -> None:
    """Render procedural street scenes with exact labels (needs the extra goodsam[streetworld])."""
    from goodsam.config import parse_size
    from goodsam.streetworld import Split, split_named, write_scenes

    if split is not None and (seed is not None or style is not None):
        raise GoodSAMError(f"--split {split}: sets seed and style; leave out --seed and --style.")
    chosen = split_named(split) if split is not None else Split("", style or "source", seed or 0)
    pixels = parse_size(size, "--size") if size else None
    ticks = RichProgress().track(range(scenes), scenes, "streetworld")
    next(ticks, None)

    def done(_: int) -> None:
        next(ticks, None)

    write_scenes(out, scenes, chosen.seed, camera, chosen.style, pixels, first, workers, done)


@app.meta.default
def launcher(*tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], config: Config = None) -> None:
    """Read --config, then hand over to the verb."""
    own = tokens[:2] == ("assistant", "train")
    known = [*(item.name for item in fields(AssistantTrainOptions)), "data", "out"] if own else None  # a run's
    values = read_config(config, known) if config is not None else {}
    given = {name.replace("_", "-"): value for name, value in values.items() if value is not None}
    # `read_config` has refused unknown keys by now; with no file, what an earlier call in this process set is undone.
    verb = {tokens[0]: {tokens[1]: given} if own else given} if tokens and given else {}
    app.config = (Dict(verb, allow_unknown=True),) if verb else ()
    app(tokens)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Turn what a user can mend into one sentence and an exit status, without a traceback."""
    try:
        yield
    except GoodSAMError as error:
        console.print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True, emoji=False)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("interrupted; what is finished is kept, give the same command again to go on.")
        sys.exit(130)


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")


def main() -> None:
    """The `goodsam` command."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its notes on loading are not the user's to act on
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False, show_level=False, markup=False)
        logging.basicConfig(level=logging.WARNING, format="%(message)s", datefmt="%X", handlers=[handler])
    else:  # a log file: one line a message
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%X", stream=sys.stderr)
    logging.getLogger("goodsam").setLevel(logging.WARNING if _is_helper() else logging.INFO)
    with _sentences():
        app.meta(sys.argv[1:])
