"""Which engine a run uses, settled once for each network: `RUN/engine.json`.

Engines differ in the last bits, so a run that was interrupted, and all shards of one, go on with the engine that it
began with.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from goodsam import files
from goodsam.engines import kinds
from goodsam.engines.choosing import Choice
from goodsam.engines.frozen import SHAPES, Expert
from goodsam.errors import UnreadableImageError
from goodsam.images import read_size
from goodsam.job import Job
from goodsam.panorama import Panorama
from goodsam.progress import pick_device
from goodsam.run import Input
from goodsam.views import cut

log = logging.getLogger(__name__)


def settle(
    job: Job, stage: str, made_with: dict[str, Any], expert: Expert | None, inputs: list[Input]
) -> dict[str, Any]:
    """Let the network of a stage use the engine of the run, which is chosen if this is the first process to ask.

    Args:
        job: of the run.
        stage: masks or label.
        made_with: what the stage's fingerprint is made of, as if PyTorch ran the network.
        expert: the network; None where there is none that engines run.
        inputs: the panoramas, of which the first is looked at.
    Returns:
        `made_with`, and the engine unless that is PyTorch, so that runs which never heard of engines stay as they are.
    Raises:
        GoodSAMError: an engine that the run began with, or that was asked for, is not here or fails.
    """
    asked = job.options.machine.engine
    if expert is None or asked == "torch":
        return made_with
    device = pick_device(job.options.machine.device)
    what = {"role": expert.role, "weights": [item.sha256 for item in expert.weights], "asked": asked}
    key = files.fingerprint_of(what | {"device": device.type})[:12]
    path = job.run.engines
    with files.locked(path.with_name(".engine.lock")):
        known = files.read_json(path) if path.exists() else {}
        kind = known[key]["engine"] if key in known else _begun(job, stage, made_with, asked)
        if kind is not None:
            kinds.check(kind.partition("-")[0], device)  # on another machine it may be missing
            expert.network.use(kind)
        else:
            found = _choose(job, expert, inputs, kinds.offered(asked, device))
            if found is None:  # nothing can be read; the stage says so
                return made_with
            facts = {"role": expert.role, "asked": asked, "device": device.type}
            files.write_json(path, known | {key: facts | _told(f"{stage}: the {expert.role}", found)})
            if asked == "auto" and device.type == "cpu" and isinstance(found, Choice) and found.tried:
                _advise(stage)
    return _with_engine(made_with, expert.network.kind)


def _with_engine(made_with: dict[str, Any], kind: str) -> dict[str, Any]:
    return made_with if kind == "torch" else made_with | {"engine": kind}


def _begun(job: Job, stage: str, made_with: dict[str, Any], asked: str) -> str | None:
    """The engine that made what the run already has, where `engine.json` is silent; None if nothing is there."""
    before = job.run.record(stage).get("fingerprint")
    names = kinds.ALL if asked == "auto" else [kind for kind in kinds.ALL if kind.partition("-")[0] == asked]
    return next((kind for kind in names if files.fingerprint_of(_with_engine(made_with, kind)) == before), None)


def _choose(job: Job, expert: Expert, inputs: list[Input], offered: Sequence[str]) -> Choice | str | None:
    """The choice on the first panorama that can be read; why it is PyTorch unseen; None if no panorama can be read.

    How much work there is does not depend on `--limit` or `--shard`: ten panoramas should not decide for a thousand.
    """
    panorama = _first(job, inputs)
    if panorama is None:
        return None
    folder = job.panoramas or tuple(item.path for item in inputs)
    if job.options.machine.engine == "auto" and expert.shapes * _sizes(folder, expert.shapes) > SHAPES:
        return "views of too many shapes"
    views = job.views(panorama)
    runs = len(folder) * len(views) * expert.looks if job.options.machine.engine == "auto" else None
    return expert.network.choose(offered, expert.show(cut(panorama, views[0])), runs)


def _first(job: Job, inputs: list[Input]) -> Panorama | None:
    for item in inputs:
        try:
            return job.read(item)
        except UnreadableImageError:  # the stage says so
            continue
    return None


def _sizes(folder: Sequence[Path], shapes: int) -> int:
    """How many sizes panoramas have, counted up to where there are too many engines."""
    found: set[tuple[int, int]] = set()
    for path in folder:
        if len(found) * shapes > SHAPES:
            break
        try:
            found.add(read_size(path))
        except UnreadableImageError:
            continue
    return len(found)


def _told(who: str, found: Choice | str) -> dict[str, Any]:
    """Say what was chosen and why: one line, and the same as JSON."""
    if isinstance(found, str):
        log.info("%s runs in torch: %s for other engines (--engine).", who, found)
        return {"engine": "torch", "reason": found}
    if not found.tried:
        return {"engine": "torch", "reason": "little to do"}
    own, other = 1000 * found.torch_seconds, 1000 * found.seconds
    if found.kind == "torch":
        log.info("%s runs in torch, %.0f ms a view, which no other engine here betters (--engine).", who, own)
        return {"engine": "torch", "torch_milliseconds": round(own, 1)}
    log.info(
        "%s runs in %s, %.0f ms a view, in torch %.0f; %s (--engine).", who, found.kind, other, own, found.likeness
    )
    times = {"milliseconds": round(other, 1), "torch_milliseconds": round(own, 1)}
    return {"engine": found.kind, **times, "likeness": found.likeness}


def _advise(stage: str) -> None:
    missing = [engine for engine in kinds.PACKAGES if kinds.lacking(engine)]
    if missing:
        extras = ",".join(missing)
        log.info('%s: not installed and so not tried: %s; `pip install "goodsam[%s]"`.', stage, extras, extras)
