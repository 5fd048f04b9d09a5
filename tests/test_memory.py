"""Memory that is freed stays with the process, where the C library can do that."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys

from goodsam.memory import keep_freed_memory
kept = len(sys.argv) > 1 and keep_freed_memory()
for _ in range(30):
    b"1" * 64_000_000
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(*arguments: str) -> tuple[bool, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    kept, number = done.stdout.split()
    return kept == "True", int(number)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told to keep memory")
def test_large_blocks_are_used_again() -> None:
    kept, few = faults("keep")
    _, many = faults()
    assert kept
    assert few < many / 3  # pages that the kernel had to hand out


GIVEN_BACK = """
import re
from pathlib import Path

from goodsam.memory import give_back_freed_memory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

del [bytearray(30_000_000)][0]  # once such a block is freed, smaller ones lie in the heap
blocks = [bytearray(b"1" * 1_000_000) for _ in range(200)]
blocks = blocks[-1:]
before = resident()
give_back_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told to give memory back")
def test_what_lies_below_a_living_block_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100  # MB
