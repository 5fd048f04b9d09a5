"""Where the time goes: parts inside parts, threads, operations, and nothing at all while nobody asks."""

import threading
import time
from io import StringIO

import pytest
import torch
from rich.console import Console
from torch import nn

from goodsam import profiling
from goodsam.profiling import Machine, Part, floor_of, profiled, timed


def test_nothing_is_kept_while_nobody_asks() -> None:
    with timed("load"):
        pass
    with profiled(on=False) as profile, timed("load"):
        pass
    assert profile is None
    with profiled() as profile:
        pass
    assert profile is not None
    assert profile.parts == {}


def test_what_is_inside_another_part_is_counted_for_the_inner_one_alone() -> None:
    with profiled() as profile, timed("views"):
        time.sleep(0.02)
        with timed("encoder"):
            time.sleep(0.05)
        with timed("encoder"):
            pass
    assert profile is not None
    views, encoder = profile.parts["views"], profile.parts["encoder"]
    assert (views.calls, encoder.calls) == (1, 2)
    assert 0.02 <= views.seconds < encoder.seconds
    assert encoder.seconds >= 0.05


def test_parts_of_other_threads_are_counted_and_lie_inside_none() -> None:
    def work() -> None:
        with timed("write"):
            time.sleep(0.02)

    with profiled() as profile, timed("fuse"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert profile is not None
    assert profile.parts["write"].seconds >= 0.02
    assert profile.parts["fuse"].seconds >= 0.02  # it waited, and is not told so


def test_operations_are_counted_when_a_shape_is_first_seen_and_added_every_time() -> None:
    layer = nn.Linear(30, 20, bias=False)
    with profiled() as profile:
        for rows in (10, 10, 5):
            with timed("encoder", layer, rows, lambda rows=rows: layer(torch.ones(rows, 30))):  # type: ignore[misc]
                pass  # whatever it is done with
    assert profile is not None
    assert profile.parts["encoder"].operations == 2 * 30 * 20 * 25
    assert profile.parts["encoder"].bytes == 3 * 30 * 20 * 4


def test_an_error_inside_is_passed_on_and_timed() -> None:
    def work() -> None:
        with timed("load"):
            raise ValueError("inside")

    with profiled() as profile, pytest.raises(ValueError, match="inside"):
        work()
    assert profile is not None
    assert profile.parts["load"].calls == 1


def test_the_floor_is_the_larger_of_operations_and_bytes() -> None:
    machine = Machine(operations=100.0, bandwidth=10.0)
    assert floor_of(Part(operations=500.0, bytes=10.0), machine) == 5
    assert floor_of(Part(operations=5.0, bytes=20.0), machine) == 2


def test_the_table_has_shares_that_sum_up_and_the_distance_to_the_floor() -> None:
    profile = profiling.Profile({"fuse": Part(1.0, 2), "encoder": Part(3.0, 2, operations=1e9, bytes=0)})
    console = Console(width=160, record=True, file=StringIO())
    console.print(profiling.table(profile, Machine(1e9, 1e9), panoramas=2, seconds=5.0))
    lines = [line for line in console.export_text().splitlines() if "│" in line]
    rows = {cells[1]: cells[2:6] for line in lines if (cells := [cell.strip() for cell in line.split("│")])}
    assert list(rows) == ["encoder", "fuse", "not timed"]  # in the order of the work
    assert rows["encoder"] == ["1.500", "75.0", "0.500", "3.0"]
    assert rows["fuse"] == ["0.500", "25.0", "-", "-"]
    assert rows["not timed"][0] == "0.500"


def test_a_machine_can_be_measured() -> None:
    machine = profiling.measure(torch.device("cpu"), repeats=1)
    assert machine.operations > 1e8
    assert machine.bandwidth > 1e8
