"""How the C library hands out memory, for loops that free and take large blocks all the time."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, until it ends; returns whether the C library can (glibc).

    By default glibc gives blocks of more than some megabytes back to the kernel at once, and takes fresh ones, which
    the kernel fills with zeros page by page. A training step on a CPU takes and frees hundreds of them, and a tenth
    of its time and more went there; what the process needs at most grows by as much (`benchmarks/train.py`).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))


def give_back_freed_memory() -> None:
    """Give the kernel the pages of freed blocks, where the C library can (glibc).

    Blocks of up to 32 MB stay with the process while anything lives above them in the heap: between the bands of a
    large panorama that came to a gigabyte.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return
