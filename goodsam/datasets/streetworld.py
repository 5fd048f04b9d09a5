"""A folder as `goodsam streetworld` writes it."""

from pathlib import Path

from goodsam.datasets.folder import FolderData, pair_by_stem
from goodsam.errors import GoodSAMError
from goodsam.files import read_json
from goodsam.labels import load_label_set
from goodsam.streetworld.cameras import CAMERAS, VFOV

_LABEL_SET = "densepass13"


def streetworld_data(where: str) -> FolderData:
    """The data set `ROOT`: images/, labels/ and scenes.json, which says what camera took them.

    Strips and full spheres bring their own vertical field of view; pinhole pictures are ordinary photos.

    Raises:
        GoodSAMError: no scenes.json or one of another form, a folder that is missing, an image without a label map or
            the reverse, pictures that scenes.json does not list or that are not there.
    """
    root = Path(where)
    camera, stems = _described(root)
    items = pair_by_stem(root / "images", root / "labels")
    _refuse_unlisted(root, [stem for stem, _, _ in items], stems)
    label_set = load_label_set(_LABEL_SET)
    if camera in VFOV:
        return FolderData(label_set, _LABEL_SET, items, VFOV[camera], "panorama")
    return FolderData(label_set, _LABEL_SET, items, projection="photo")


def streetworld_images(where: str) -> dict[str, Path]:
    """The panoramas of `ROOT` by stem; labels are not looked at.

    Raises:
        GoodSAMError: as `streetworld_data`, or pictures of a pinhole camera.
    """
    data = streetworld_data(where)
    if data.projection != "panorama":
        raise GoodSAMError(f"streetworld:{where}: holds ordinary photos, not panoramas; render it with --camera strip.")
    return {stem: image for stem, image, _ in data}


def _described(root: Path) -> tuple[str, set[str]]:
    """Camera and stems that scenes.json names."""
    path = root / "scenes.json"
    if not path.is_file():
        raise GoodSAMError(
            f"{path}: missing; --data streetworld:ROOT takes a folder that `goodsam streetworld --out ROOT` has "
            "finished, which writes it last."
        )
    table = read_json(path)
    try:
        label_set, camera = table["label_set"], table["camera"]
        stems = {entry["stem"] for entry in table["scenes"]}
    except (KeyError, TypeError) as error:
        raise GoodSAMError(f"{path}: not as `goodsam streetworld` writes it ({error!r}); render it again.") from error
    if label_set != _LABEL_SET:
        raise GoodSAMError(f"{path}: label set {label_set!r}; must be {_LABEL_SET}, that of the street world.")
    if camera not in CAMERAS:
        raise GoodSAMError(f"{path}: camera {camera!r}; must be one of {', '.join(CAMERAS)}.")
    return camera, stems


def _refuse_unlisted(root: Path, found: list[str], listed: set[str]) -> None:
    """Pictures left from an earlier rendering may be of another camera or split, so they are not just passed over."""
    unlisted, gone = sorted(set(found) - listed), sorted(listed - set(found))
    if unlisted:
        raise GoodSAMError(
            f"{root}: scenes.json does not list {unlisted[0]!r} ({len(unlisted)} such); it was rendered by another "
            "call. Render into a folder of its own."
        )
    if gone:
        raise GoodSAMError(f"{root}: the picture {gone[0]!r} of scenes.json is not there ({len(gone)} such).")
