"""The ladder's students: each learns from some targets with some of the method, all for as many steps."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ladder_data import Clock
from ladder_scores import LABEL_SET
from ladder_targets import ENSEMBLE, PLAIN, VIEWS, link, targets_run
from ladder_world import Ladder

from goodsam import files, pipeline, weights
from goodsam.config import RunOptions, run_options
from goodsam.job import Job
from goodsam.loader import look_at
from goodsam.progress import Silent
from goodsam.run import Input, Run
from goodsam.student import resolve_start
from goodsam.teachers.assistant import TransformersAssistant
from goodsam.train import train_student

BARE: dict[str, Any] = {
    "patches": 1,
    "whole_scale": 0.0,
    "rare_patches": 0.0,
    "alpha": 0.0,
    "beta": 0.0,
    "average": 0.0,
    "temperature": 2.0,
}
"""One patch a step, anywhere, and the ensemble's labels alone: what the rest is added to."""


@dataclass(frozen=True)
class Recipe:
    """How a student is made."""

    targets: str
    """What it learns from; see `ladder_targets`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of loss, levels and training."""
    rounds: int = 1
    """Trainings, the student of one labelling for the next."""
    longer: int = 1
    """Times the ladder's steps."""
    once: bool = False
    """Of one seed alone, since it takes long or is beside the way."""
    everywhere: bool = False
    """Tested on spheres as well, which students do not learn from."""

    def makes(self, other: "Recipe") -> bool:
        """Whether both make the same student."""
        names = ("targets", "options", "rounds", "longer")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    against: tuple[str, ...] = ()
    """Other students that it is compared with."""


def _recipes() -> dict[str, Recipe]:
    plain, views, ensemble = "student: plain labels", "student: views", "student: ensemble"
    found = {
        plain: Recipe(PLAIN, BARE),
        views: Recipe(VIEWS, BARE, against=(plain,)),
        ensemble: Recipe(ENSEMBLE, BARE, against=(views, plain)),
    }
    before, options = ensemble, BARE
    steps: list[tuple[str, dict[str, Any]]] = [
        ("+ assistant's logits", {"alpha": 0.5}),
        ("+ features", {"beta": 0.1}),
        ("+ whole panorama", {"whole_scale": 0.5}),
        ("+ patches on rare classes", {"rare_patches": 0.5}),
        ("+ average of the weights", {"average": 0.99}),
    ]
    for name, added in steps:
        options = options | added
        found[name] = Recipe(ENSEMBLE, options, against=(before,))
        before = name
    found[before] = replace(found[before], against=(*found[before].against, plain), everywhere=True)
    without = options | {"alpha": 0.0, "beta": 0.0}
    found["without logits and features"] = Recipe(ENSEMBLE, without, against=(before,), once=True)
    plain_logits = options | {"beta": 0.0, "temperature": 1.0}
    found["without features, temperature 1"] = Recipe(ENSEMBLE, plain_logits, against=(before,), once=True)
    found["student: two rounds"] = Recipe(ENSEMBLE, options, rounds=2, against=(before,), once=True, everywhere=True)
    found["student: five times the steps"] = Recipe(
        ENSEMBLE, options, longer=5, against=(before,), once=True, everywhere=True
    )
    return found


STUDENTS = _recipes()
"""Name -> recipe, from below; those with + add to the one before."""


def student_run(ladder: Ladder, name: str, seed: int) -> Run:
    """The run folder of a student, trained and kept."""
    recipe = STUDENTS[name]
    start, run = ladder.options.start, targets_run(ladder, recipe.targets)
    plain = "".join(letter for letter in name if letter not in ",;:+'").strip().replace(" ", "-")
    for number in range(1, recipe.rounds + 1):
        # The first of several rounds is the student of one round.
        same = next(key for key, other in STUDENTS.items() if replace(recipe, rounds=1).makes(other))
        if number < recipe.rounds:
            run = student_run(ladder, same, seed)
        else:
            source = run if number == 1 else _labelled_by(ladder, run, f"{plain}-{seed}-targets", seed)
            run = _trained(ladder, recipe, source, f"{plain}-{seed}", seed, start)
        start = str(run.student)
    return run


def _options(ladder: Ladder, recipe: Recipe, seed: int, start: str) -> RunOptions:
    given = ladder.options
    return run_options(
        sam=given.sam, preset=given.preset, assistant=given.assistant, label_set=LABEL_SET.name, init=start, seed=seed,
        steps=given.steps * recipe.longer, batch_size=given.batch_size, train_size=given.train_size,
        learning_rate=given.learning_rate, patch_size=given.patch_size, vfov=ladder.unlabelled.vfov,
        limit=len(ladder.unlabelled.stems), device=given.device, held_back=0.0, **recipe.options,
    )  # fmt: skip


def _trained(ladder: Ladder, recipe: Recipe, source: Run, name: str, seed: int, start: str) -> Run:
    """A student trained on the targets of a run."""
    run, options = Run(ladder.work / "students" / name), _options(ladder, recipe, seed, start)
    run.root.mkdir(parents=True, exist_ok=True)
    for kept in ("ensemble", "assistant_probs", "features", "label.json", "inputs.json"):
        if (source.root / kept).exists():
            link(source.root / kept, run.root / kept)
    inputs = inputs_of(ladder)
    started = weights.weight_files(start, resolve_start("t", start)[1] or Path())
    made_with = {
        "targets": source.record("label")["fingerprint"],
        "ensemble": str(source.root.name),
        "panoramas": [item.stem for item in inputs],
        "start": [item.sha256 for item in started],
        **{part: asdict(getattr(options, part)) for part in ("student", "loss", "level", "train")},
    }
    made_with["student"].pop("init")
    shown = {key: value for key, value in options.flat().items() if key not in ("limit",)}
    fingerprint = run.begin("train", made_with, shown, started)
    if not run.record("train")["finished"]:
        names = {"train": f"student {name} {fingerprint[:8]}"}
        clock = Clock(ladder.work / "seconds.json", names)
        scene = look_at(inputs, options, run)
        run.finish("train", **train_student(run, inputs, scene, options, fingerprint, clock, start))
    return run


def inputs_of(ladder: Ladder) -> list[Input]:
    """The unlabelled strips."""
    root = ladder.unlabelled.root / "images"
    return [Input(stem, root / f"{stem}.jpg", "") for stem in ladder.unlabelled.stems]


def _labelled_by(ladder: Ladder, student: Run, name: str, seed: int) -> Run:
    """The targets of a later round: the label stage with the student of the round before as assistant."""
    base, run = targets_run(ladder, ENSEMBLE), Run(ladder.work / "students" / name)
    run.root.mkdir(parents=True, exist_ok=True)
    for kept in ("masks", "masks.json"):
        link(base.root / kept, run.root / kept)
    if not (run.root / "inputs.json").exists():
        files.write_json(run.root / "inputs.json", base.inputs())
    options = run_options(
        vfov=ladder.unlabelled.vfov, label_set=LABEL_SET.name, device=ladder.options.device, seed=seed
    )
    assistant = TransformersAssistant(str(student.student), LABEL_SET, ladder.device)
    pipeline.label(Job(run, options, Silent()), inputs_of(ladder), assistant, ladder.cars(ladder.unlabelled))
    return run
