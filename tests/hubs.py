"""A stand-in for the Hugging Face hub: what is uploaded lies at once where a download would have put it."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import filter_repo_objects


class Hub:
    """The calls of `huggingface_hub.HfApi` that a push makes, on a cache folder in the hub's own layout.

    models--OWNER--NAME/refs/main holds a commit, snapshots/COMMIT/ links to blobs/HASH.
    """

    cache: Path
    public: set[str]
    calls: list[tuple[str, dict[str, Any]]]

    def create_repo(self, repo_id: str, **options: Any) -> str:
        self.calls.append(("create_repo", options))
        if not options["private"]:
            self.public.add(repo_id)
        return f"https://huggingface.co/{repo_id}"

    def model_info(self, repo_id: str) -> SimpleNamespace:
        return SimpleNamespace(private=repo_id not in self.public)

    def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], **options: Any) -> None:
        self.calls.append(("upload_folder", options))
        names = [path.relative_to(folder_path).as_posix() for path in sorted(folder_path.rglob("*")) if path.is_file()]
        chosen = filter_repo_objects(names, allow_patterns=allow_patterns)
        kept = {name: (folder_path / name).read_bytes() for name in chosen}
        commit = hashlib.sha1(repr(sorted(kept.items())).encode()).hexdigest()
        repository = self.cache / f"models--{repo_id.replace('/', '--')}"
        for folder in ("refs", "blobs", f"snapshots/{commit}"):
            (repository / folder).mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        for name, data in kept.items():
            blob = hashlib.sha256(data).hexdigest()
            (repository / "blobs" / blob).write_bytes(data)
            link = repository / "snapshots" / commit / name
            if not link.exists():
                link.symlink_to(f"../../blobs/{blob}")


def offline_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    """Put a hub in the place of the real one; downloads come from its cache, with the real client, offline."""
    hub = type("HubOf", (Hub,), {"cache": cache, "public": set(), "calls": []})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("goodsam.hub.HfApi", hub)
    return hub
