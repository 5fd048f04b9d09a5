"""Sharing a student on the Hugging Face hub; `weights.resolve` gets it back."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError

from goodsam import weights
from goodsam.card import refresh_measured
from goodsam.errors import GoodSAMError, first_line

log = logging.getLogger(__name__)

SHARED = ("*.safetensors", "*.json", "README.md")
"""What of a student's folder is uploaded; nothing that could run code."""


def push(student: Path, repo_id: str, *, private: bool = False, message: str | None = None) -> str:
    """Upload a student, its figures of `RUN/metrics.json` put into its card first.

    Args:
        student: a `RUN/student` folder.
        repo_id: OWNER/NAME on the hub; made if it is not there.
        private: only you, or the organisation that OWNER is, can see it.
        message: of the commit.
    Returns:
        the address of its page.
    Raises:
        GoodSAMError: not a student, not such an id, or what the hub has against it and what to do.
    """
    _check(student, repo_id)
    refresh_measured(student)
    log.warning(
        "push: %s inherits the conditions of the weights it was made from (%s); check that these, and those of the "
        "panoramas, let you share it.",
        student, weights.licence_of("", student),
    )  # fmt: skip
    api = HfApi()
    with _sentences(repo_id):
        # None, not False: so that an organisation whose models are private by default keeps it that way
        url = str(api.create_repo(repo_id, private=private or None, exist_ok=True))
        if private and not api.model_info(repo_id).private:
            raise GoodSAMError(
                f"push {repo_id} --private: there already is a public model of that name, and it would stay public; "
                "choose another name, or make it private on its page."
            )
        api.upload_folder(
            repo_id=repo_id, folder_path=student, allow_patterns=list(SHARED),
            commit_message=message or "Student made by GoodSAM",
        )  # fmt: skip
    return url


def _check(student: Path, repo_id: str) -> None:
    """Look at what can be wrong before anything is sent."""
    if not weights.is_hub_id(repo_id):
        raise GoodSAMError(
            f"push {repo_id}: must be OWNER/NAME, where OWNER is you or an organisation of yours on the Hugging Face "
            "hub, and NAME has letters, digits, '-', '_' and '.' alone."
        )
    if weights.read_config(student).get("model_type") != "segformer":
        raise GoodSAMError(
            f"{student}: not a student (config.json is missing or not a segformer's); give the RUN/student folder."
        )
    for name in ("model.safetensors", "README.md"):
        if not (student / name).is_file():
            raise GoodSAMError(f"{student}: not a whole student, {name} is missing; give the RUN/student folder.")


@contextlib.contextmanager
def _sentences(repo_id: str) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence that says what to do."""
    try:
        yield
    except GoodSAMError:
        raise
    except Exception as error:  # the hub's client raises half a dozen kinds for "not allowed" and "not reached"
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401 or isinstance(error, LocalTokenNotFoundError):
            text = "you are not logged in; run `hf auth login` with a token that may write, then push again."
        elif status in (403, 404):
            text = (
                "you may not write there; take an OWNER that is you or an organisation of yours, or run "
                "`hf auth login` with a token that may write."
            )
        else:
            text = (
                f"the Hugging Face hub was not reached or refused it ({_reason(error)}). Check the connection and that "
                "HF_HUB_OFFLINE is not set, then push again."
            )
        raise GoodSAMError(f"push {repo_id}: {text}") from error


def _reason(error: Exception) -> str:
    """What the hub itself says, which its client puts after a first line of its own; else that first line."""
    said = getattr(error, "server_message", None)
    return first_line(Exception(said)) if said else first_line(error)
