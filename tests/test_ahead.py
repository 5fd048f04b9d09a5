"""Reading ahead and writing behind: in order, bounded, and no error is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiny

from goodsam import pipeline
from goodsam.ahead import WAITING, Behind, ahead
from goodsam.config import run_options
from goodsam.errors import GoodSAMError


def test_results_come_in_order_and_few_run_ahead() -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        time.sleep(0.01 * (number % 3))
        return number * number

    with ThreadPoolExecutor(4) as pool:
        results = ahead(pool, work, range(20), 3)
        assert next(results) == 0
        assert len(started) <= 5
        assert list(results) == [number * number for number in range(1, 20)]


def test_an_error_comes_where_its_result_would() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise GoodSAMError("number two")
        return number

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, work, range(5), 2)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(GoodSAMError, match="number two"):
            next(results)


def test_what_is_written_behind_is_written_in_order_and_bounded() -> None:
    behind, gate, written = Behind(), threading.Event(), []

    def write(number: int) -> None:
        gate.wait(5)
        written.append(number)

    for number in range(WAITING):
        behind(lambda number=number: write(number))  # type: ignore[misc]
    assert written == []
    threading.Timer(0.05, gate.set).start()
    behind(lambda: write(WAITING))  # has to wait for the first
    assert written[:1] == [0]
    behind.flush()
    assert written == list(range(WAITING + 1))


def test_an_error_behind_is_raised_at_the_latest_when_all_is_flushed() -> None:
    behind = Behind()

    def fail() -> None:
        raise GoodSAMError("disk full")

    behind(fail)
    with pytest.raises(GoodSAMError, match="disk full"):
        behind.flush()
    behind.flush()  # said once
    behind(lambda: None)  # and it can be used again
    behind.flush()


def test_a_stage_that_cannot_write_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last panorama's masks fail behind the loop: the stage says so, and what was written stays."""
    photos = tiny.write_panoramas(tmp_path / "photos", 2)
    write = pipeline.PanoramaMasks.write

    def full(self: pipeline.PanoramaMasks, path: Path) -> None:
        if path.name.startswith("pano01"):
            raise GoodSAMError(f"{path}: cannot be written (no space)")
        write(self, path)

    options = run_options(sam="regions", assistant=str(tiny.write_assistant(tmp_path / "a.onnx")), ego="off")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.PanoramaMasks, "write", full)
        with pytest.raises(GoodSAMError, match="no space"):
            pipeline.distill(photos, tmp_path / "RUN", options, ("masks",))
    assert (tmp_path / "RUN" / "masks" / "pano00.json.gz").exists()
    run = pipeline.distill(photos, tmp_path / "RUN", options, ("masks",))
    assert run.record("masks")["finished"]
    assert (tmp_path / "RUN" / "masks" / "pano01.json.gz").exists()
