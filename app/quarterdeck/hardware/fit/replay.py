"""Replays how llama.cpp lays out the intermediate results of one pass, to learn how large its compute buffer becomes.

The engine reserves one buffer for the largest batch. Its allocator walks through the steps in order, gives every result
the tightest gap that holds it, writes over an operand that nobody needs any more where the operation allows it, and
frees what was read for the last time. The size of the buffer is the high-water mark, gaps included; a sum of the
results that live at one time comes out 10 to 30 % too low.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

ALIGNMENT = 32


@dataclass(slots=True)
class _Step:
    size: int
    sources: tuple[int, ...]
    in_place: bool
    kept: bool
    view_of: int | None = None
    children: int = 0
    views: int = 0
    at: int | None = None


class Tape:
    """The steps of one pass in the order of the engine. Every method gives the number of its result; sizes in bytes."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._inputs: list[int] = []

    def input(self, size: int) -> int:
        """Something the engine fills in before the pass; it has its place from the start."""
        number = self._add(_Step(size, (), in_place=False, kept=False))
        self._inputs.append(number)
        return number

    def new(self, size: int, *sources: int, kept: bool = False) -> int:
        """A result with a place of its own. A `kept` one is read after the pass and never freed."""
        return self._add(_Step(size, sources, in_place=False, kept=kept))

    def over(self, source: int, *others: int, kept: bool = False) -> int:
        """A result as large as `source` that may take its place (or that of an equally large other operand)."""
        return self._add(_Step(self._steps[source].size, (source, *others), in_place=True, kept=kept))

    def view(self, source: int, *others: int) -> int:
        """The same bytes seen in another form, or after `others` were written into them."""
        root = self._steps[source].view_of
        step = _Step(self._steps[source].size, (source, *others), in_place=False, kept=False)
        step.view_of = source if root is None else root
        return self._add(step)

    def stored(self, *sources: int) -> None:
        """Something is written into memory that is not part of the buffer, such as the KV cache."""
        self._add(_Step(0, sources, in_place=False, kept=False))

    def high_water(self) -> int:
        """The size of the buffer in bytes."""
        space = _Space()
        self._count()
        for number in self._inputs:
            self._steps[number].at = space.take(self._steps[number].size)
        for step in self._steps:
            self._place(step, space)
            self._release_sources(step, space)
        return space.highest

    def _add(self, step: _Step) -> int:
        self._steps.append(step)
        return len(self._steps) - 1

    def _count(self) -> None:
        for step in self._steps:
            if step.view_of is not None:
                self._steps[step.view_of].views += 1
            for source in step.sources:
                self._steps[source].children += 1

    def _place(self, step: _Step, space: _Space) -> None:
        if step.at is not None or step.view_of is not None or not step.size:
            return
        for source in step.sources if step.in_place else ():
            owner = self._replaceable(source, step.size)
            if owner is not None:
                step.at, owner.at = owner.at, None
                return
        step.at = space.take(step.size)

    def _replaceable(self, number: int, size: int) -> _Step | None:
        parent = self._steps[number]
        if parent.size != size or parent.children != 1 or parent.views:
            return None
        if parent.view_of is None:
            return parent if parent.at is not None and not parent.kept else None
        root = self._steps[parent.view_of]
        if root.views == 1 and not root.children and root.at is not None and not root.kept and root.size == size:
            return root
        return None

    def _release_sources(self, step: _Step, space: _Space) -> None:
        for number in step.sources:
            parent = self._steps[number]
            parent.children -= 1
            if parent.children or parent.views:
                continue
            owner = parent
            if parent.view_of is not None:
                owner = self._steps[parent.view_of]
                owner.views -= 1
                if owner.views or owner.children:
                    continue
            if owner.at is not None and not owner.kept:
                space.give_back(owner.at, owner.size)
                owner.at = None


class _Space:
    """An endless stretch of memory with gaps; takes the tightest gap that is large enough."""

    def __init__(self) -> None:
        self._gaps: list[tuple[int, int]] = []
        self._end = 0
        self.highest = 0

    def take(self, size: int) -> int:
        size = _aligned(size)
        fitting = [gap for gap in self._gaps if gap[1] >= size]
        if not fitting:
            at = self._end
            self._end += size
            self.highest = max(self.highest, self._end)
            return at
        at, length = gap = min(reversed(fitting), key=lambda gap: gap[1])
        self._gaps.remove(gap)
        if length > size:
            insort(self._gaps, (at + size, length - size))
        return at

    def give_back(self, at: int, size: int) -> None:
        begin, end = at, at + _aligned(size)
        for gap in list(self._gaps):
            if gap[0] + gap[1] == begin or gap[0] == end:
                self._gaps.remove(gap)
                begin, end = min(begin, gap[0]), max(end, gap[0] + gap[1])
        if end == self._end:
            self._end = begin
        else:
            insort(self._gaps, (begin, end - begin))


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
