"""Where the cards of a long list stand, so that only those in view need to exist."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """The rectangle of one card, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal columns; the cards of a row share the height of the tallest. `tops` ends with the end of the last row."""

    columns: int
    width: int
    gap: int
    tops: tuple[int, ...]

    @property
    def height(self) -> int:
        return max(0, self.tops[-1] - self.gap)

    def place(self, index: int) -> Place:
        row, column = divmod(index, self.columns)
        top = self.tops[row]
        return Place(column * (self.width + self.gap), top, self.width, self.tops[row + 1] - self.gap - top)

    def between(self, top: int, bottom: int, count: int) -> range:
        """The cards of which something lies between `top` and `bottom`, out of `count`."""
        first = max(0, bisect_right(self.tops, top) - 1)
        end = bisect_left(self.tops, bottom)
        return range(min(first * self.columns, count), min(end * self.columns, count))


def lay_out(heights: Sequence[int], width: int, *, column: int, gap: int) -> Grid:
    """As many columns as fit into `width` with at least `column` pixels each; `heights` of the cards in order."""
    columns = max(1, (width + gap) // (column + gap))
    tops = [0]
    for start in range(0, len(heights), columns):
        tops.append(tops[-1] + max(heights[start : start + columns]) + gap)
    return Grid(columns, (width - gap * (columns - 1)) // columns, gap, tuple(tops))
