"""Label Studio's run-lengths of a brush region: a bit stream of the RGBA image in which the region is painted.

The form is that of the JavaScript package @thi.ng/rle-pack. After a head (number of values, bits of a value, and the
four widths in bits that a length may have) come groups: one bit, 1 for a value that is repeated and 0 for values one by
one; two bits that choose the width; the length less one; then the value, or as many values as the length says.
"""

from collections.abc import Sequence

import numpy as np

from goodsam.errors import GoodSAMError

CHANNELS, WORD = 4, 8
"""Values of a pixel, and bits of a value."""
WIDTHS = np.array([3, 4, 8, 16])
"""Bits of a length, as Label Studio writes them."""
_HEAD = ((32, 5, 4, 4, 4, 4), (WORD - 1, *(int(width) - 1 for width in WIDTHS)))


def encode(mask: np.ndarray) -> list[int]:
    """A mask, bool (H, W), as bytes; all four channels of a pixel are 255 or 0."""
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = CHANNELS * np.diff(starts, append=len(flat))
    longest = 1 << int(WIDTHS[-1])
    parts = -(-lengths // longest)  # of a run that is longer than a length can say
    each = np.full(parts.sum(), longest)
    each[np.cumsum(parts) - 1] = lengths - (parts - 1) * longest
    values = np.repeat(np.where(flat[starts], 255, 0), parts)
    choice = np.searchsorted(1 << WIDTHS, each)
    codes = (((4 | choice) << WIDTHS[choice] | (each - 1)) << WORD) | values
    head_widths, head = _HEAD
    widths = np.concatenate([head_widths, 3 + WIDTHS[choice] + WORD])
    return _packed(np.concatenate([[CHANNELS * len(flat), *head], codes]), widths)


def _packed(codes: np.ndarray, widths: np.ndarray) -> list[int]:
    """Numbers, one after the other, each in its number of bits, the highest first; zeros fill the last byte."""
    ends = np.cumsum(widths)
    bits = np.zeros(ends[-1], dtype=np.uint8)
    for bit in range(int(widths.max())):
        long = widths > bit
        bits[ends[long] - 1 - bit] = (codes[long] >> bit) & 1
    return [int(byte) for byte in np.packbits(bits)]


def decode(rle: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """What is painted, bool (H, W): pixels whose alpha is not 0, as Label Studio takes them.

    A Python step per group, which is a run or many values at once, never per pixel.

    Raises:
        GoodSAMError: bytes that end too early, or of another number of pixels.
    """
    stream, number = _Bits(bytes(rle)), CHANNELS * size[0] * size[1]
    said, word, widths = stream.read(32), stream.read(5) + 1, [stream.read(4) + 1 for _ in WIDTHS]
    if (said, word) != (number, WORD):
        raise GoodSAMError(
            f"a region of {said} values of {word} bits; an image of {size[1]}x{size[0]} pixels has {number} of {WORD}."
        )
    values, place = np.zeros(number, dtype=np.uint8), 0
    while place < number:
        kind = stream.read(3)
        length = stream.read(widths[kind & 3]) + 1
        if place + length > number:
            raise GoodSAMError(f"a run of a region ends after {place + length} of {number} values; it is damaged.")
        if kind & 4:
            value = stream.read(WORD)
            if value:
                values[place : place + length] = value
        else:
            values[place : place + length] = stream.words(length)
        place += length
    return values[CHANNELS - 1 :: CHANNELS].reshape(size) > 0


class _Bits:
    """Reads bytes bit by bit, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place, self._end = data, 0, 8 * len(data)

    def _take(self, width: int) -> tuple[int, int]:
        start, self._place = self._place, self._place + width
        if self._place > self._end:
            raise GoodSAMError(f"a region's {len(self._data)} bytes end too early; it is cut off, export it again.")
        return start, self._place

    def read(self, width: int) -> int:
        """The next number of `width` bits."""
        start, end = self._take(width)
        last = (end + 7) >> 3
        return (int.from_bytes(self._data[start >> 3 : last], "big") >> (8 * last - end)) & ((1 << width) - 1)

    def words(self, number: int) -> np.ndarray:
        """The next values one by one, uint8 (number,)."""
        start, end = self._take(number * WORD)
        bits = np.unpackbits(np.frombuffer(self._data[start >> 3 : (end + 7) >> 3], dtype=np.uint8))
        return np.packbits(bits[start & 7 : (start & 7) + number * WORD])
