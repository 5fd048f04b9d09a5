"""One folder with all artefacts of one distillation: where each lies, and which of them are still good."""

import logging
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from goodsam import __version__, files
from goodsam.weights import WeightFile

log = logging.getLogger(__name__)

STAGE_FOLDERS = {
    "masks": ("masks",),
    "adapt": ("assistant", "adapt"),
    "label": ("assistant_probs", "features", "ensemble", "labels", "confidence"),
    "train": ("student", "train"),
}
"""What each stage writes, in the order of the stages."""
_SUFFIXES = {
    "masks": ".json.gz",
    "assistant_probs": ".npz",
    "features": ".npz",
    "ensemble": ".npz",
    "labels": ".png",
    "confidence": ".png",
}
"""What is made from a photo, and made again when the photo changes."""
_CORRECTIONS = "corrections"
"""What a person made of it, which no program can make again."""


@dataclass(frozen=True)
class Input:
    """One panorama of the run."""

    stem: str
    path: Path
    sha256: str


class Run:
    """A run folder.

    Args:
        root: the folder; made when something is first written.
        main: the run that this is an earlier round of, which has masks, inputs and camera cars; None for itself.
    """

    def __init__(self, root: Path, main: "Run | None" = None) -> None:
        self.root, self._main = root, main or self

    def round(self, number: int) -> "Run":
        """An earlier round, 1 the first, in `RUN/rounds/N`; the last round is the run itself."""
        return Run(self.root / "rounds" / str(number), self)

    def file(self, folder: str, stem: str) -> Path:
        """`RUN/<folder>/<stem>` with the suffix of that folder's files."""
        root = self._main.root if folder in ("masks", _CORRECTIONS) else self.root
        return root / folder / f"{stem}{'.png' if folder == _CORRECTIONS else _SUFFIXES[folder]}"

    @property
    def corrections(self) -> Path:
        """`RUN/corrections`, label maps of a person; all rounds share them."""
        return self._main.root / _CORRECTIONS

    @property
    def projection(self) -> Path:
        """`RUN/features/pca.safetensors`."""
        return self.root / "features" / "pca.safetensors"

    @property
    def ego(self) -> Path:
        """`RUN/ego`, masks of the camera cars that were found; kept with the run."""
        return self._main.root / "ego"

    @property
    def engines(self) -> Path:
        """`RUN/engine.json`, what runs the networks; by their weights, so all rounds share it."""
        return self._main.root / "engine.json"

    @property
    def assistant(self) -> Path:
        """`RUN/assistant`, the adapted one."""
        return self.root / "assistant"

    @property
    def adapt(self) -> Path:
        """`RUN/adapt`, what the adaptation leaves while it runs."""
        return self.root / "adapt"

    @property
    def student(self) -> Path:
        """`RUN/student`."""
        return self.root / "student"

    @property
    def train(self) -> Path:
        """`RUN/train`."""
        return self.root / "train"

    # -- stages ---------------------------------------------------------------------------------------------------

    def record(self, stage: str) -> dict[str, Any]:
        """`RUN/STAGE.json`, or {} before the stage has begun."""
        path = (self._main.root if stage == "masks" else self.root) / f"{stage}.json"
        return files.read_json(path) if path.exists() else {}

    def begin(
        self, stage: str, made_with: dict[str, Any], options: dict[str, Any], weights: Sequence[WeightFile]
    ) -> str:
        """Make sure that what lies in the stage's folders was made with these options.

        Artefacts made with others are set aside in `RUN/stale/`, and come back when their options do: nothing that
        took hours is lost to a mistyped option.

        Args:
            stage: "masks", "adapt", "label" or "train".
            made_with: every option, hash and earlier fingerprint that changes the stage's result, as JSON values.
            options: of the stage, for `run.yaml`.
            weights: that the stage uses, for `run.yaml`.
        Returns:
            the stage's fingerprint.
        """
        fingerprint = files.fingerprint_of(made_with)
        with files.locked(self.root / ".lock"):
            before = self.record(stage)
            finished = before.get("finished", False)
            if before.get("fingerprint") != fingerprint:
                if before:
                    self._set_aside(stage, before)
                finished = self._bring_back(stage, fingerprint)
            record = {"stage": stage, "fingerprint": fingerprint, "finished": finished, "made_with": made_with}
            record |= {"options": options, "weights": [item.to_json() for item in weights]}
            files.write_json(self.root / f"{stage}.json", record)
            self._describe()
        return fingerprint

    def finish(self, stage: str, **facts: Any) -> None:
        """Mark a stage as finished, with facts such as counts and seconds."""
        with files.locked(self.root / ".lock"):
            files.write_json(self.root / f"{stage}.json", self.record(stage) | {"finished": True} | facts)

    def _set_aside(self, stage: str, record: dict[str, Any]) -> None:
        kept = self._stale(stage, record["fingerprint"])
        moved = [name for name in STAGE_FOLDERS[stage] if (self.root / name).exists()]
        if not moved:
            return
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for name in moved:
            (self.root / name).rename(kept / name)
        files.write_json(kept / f"{stage}.json", record)
        log.warning(
            "%s: made with other options than now; set aside in %s (delete it if it is not needed) and made again.",
            ", ".join(moved),
            kept,
        )

    def _bring_back(self, stage: str, fingerprint: str) -> bool:
        """Whether there was anything to bring back, and it was finished."""
        kept = self._stale(stage, fingerprint)
        if not kept.exists():
            return self._take_over(stage, fingerprint)
        finished = bool(files.read_json(kept / f"{stage}.json")["finished"])
        self._move(stage, kept)
        shutil.rmtree(kept)
        log.info("%s: taken back from %s, made with the same options.", stage, kept)
        return finished

    def _take_over(self, stage: str, fingerprint: str) -> bool:
        """The same for what another round has: with more rounds than before, the last one becomes an earlier one."""
        rounds = self._main.root / "rounds"
        for root in (self._main.root, *(sorted(rounds.iterdir()) if rounds.exists() else ())):
            record = root / f"{stage}.json"
            if root == self.root or not record.exists() or files.read_json(record)["fingerprint"] != fingerprint:
                continue
            finished = bool(files.read_json(record)["finished"])
            record.unlink()  # first, so that a record never speaks of what is not there
            self._move(stage, root)
            return finished
        return False

    def _move(self, stage: str, source: Path) -> None:
        for name in STAGE_FOLDERS[stage]:
            if (source / name).exists():
                self.root.mkdir(parents=True, exist_ok=True)
                (source / name).rename(self.root / name)

    def _stale(self, stage: str, fingerprint: str) -> Path:
        return self.root / "stale" / f"{stage}-{fingerprint[:12]}"

    # -- inputs ---------------------------------------------------------------------------------------------------

    def take_inputs(self, found: dict[str, Path]) -> list[Input]:
        """Hash the inputs; what was made from a photo that has changed since is deleted.

        A hash is taken again only when size or time of change differ from what `RUN/inputs.json` says.

        Args:
            found: stem -> path, from `files.list_images`.
        """
        with files.locked(self.root / ".lock"):
            known = self.inputs()
            inputs = []
            for stem, path in found.items():
                entry = _described(path, known.get(stem, {}))
                if stem in known and known[stem]["sha256"] != entry["sha256"]:
                    log.warning("%s has changed since it was used here; what was made from it is made again.", path)
                    self._forget(stem)
                    self._exchange_correction(stem, known[stem]["sha256"], entry["sha256"])
                known[stem] = entry
                inputs.append(Input(stem, path, entry["sha256"]))
            files.write_json(self.root / "inputs.json", dict(sorted(known.items())))
        return inputs

    def inputs(self) -> dict[str, dict[str, Any]]:
        """stem -> what `inputs.json` says of it."""
        path = self._main.root / "inputs.json"
        return files.read_json(path) if path.exists() else {}

    def note_left_out(self, reasons: dict[str, str], read: Sequence[str]) -> None:
        """Remember which inputs could not be read and why, and which can be read now; `run.yaml` says so too."""
        with files.locked(self._main.root / ".lock"):
            known = self.inputs()
            for stem in read:
                known[stem].pop("left_out", None)
            for stem, reason in reasons.items():
                known[stem]["left_out"] = reason
            files.write_json(self._main.root / "inputs.json", known)
            self._main._describe()

    def _forget(self, stem: str) -> None:
        rounds = self.root / "rounds"
        for root in (self.root, *(rounds.iterdir() if rounds.exists() else ())):
            for folder in _SUFFIXES:
                Run(root).file(folder, stem).unlink(missing_ok=True)

    def _exchange_correction(self, stem: str, before: str, now: str) -> None:
        """A correction of the photo as it was is a person's work: it is kept aside, and comes back with that photo.

        Args:
            stem: of the photo.
            before: its sha256 when the correction was drawn.
            now: its sha256.
        """
        path = self.file(_CORRECTIONS, stem)
        stale = [self.root / "stale" / f"{_CORRECTIONS}-{digest[:12]}" / f"{stem}.png" for digest in (before, now)]
        if path.exists():
            _move_file(path, stale[0])
            log.warning("%s: was drawn on the photo as it was before; kept as %s and not used.", path, stale[0])
        if stale[1].exists():
            _move_file(stale[1], path)
            log.info("%s: taken back from %s, drawn on the photo as it is now.", path, stale[1])

    # -- run.yaml -------------------------------------------------------------------------------------------------

    def _describe(self) -> None:
        """Write `RUN/run.yaml` from what the stages recorded: options, versions, weights, inputs left out."""
        packages = ("torch", "transformers", "accelerate", "numpy", "scikit-image", "pillow", "pycocotools")
        records = [self.record(stage) for stage in STAGE_FOLDERS]
        options: dict[str, Any] = {}
        weights: list[dict[str, str]] = []
        for record in records:
            options |= record.get("options", {})
            weights += [item for item in record.get("weights", []) if item not in weights]
        value = {
            "options": options,
            "versions": {"goodsam": __version__, "python": platform.python_version()}
            | {name: metadata.version(name) for name in packages},
            "weights": weights,
            "left_out": {stem: entry["left_out"] for stem, entry in self.inputs().items() if "left_out" in entry},
        }
        files.write_text(self.root / "run.yaml", yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def _move_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def _described(path: Path, before: dict[str, Any]) -> dict[str, Any]:
    try:
        status = path.stat()
        same = before.get("bytes") == status.st_size and before.get("changed") == status.st_mtime_ns
        if same and before.get("path") == str(path):
            return before
        digest = files.sha256_of(path)
    except OSError:  # the stage that reads it says so, and goes on with the others
        return {"path": str(path), "sha256": "unreadable"}
    return {"path": str(path), "bytes": status.st_size, "changed": status.st_mtime_ns, "sha256": digest}
