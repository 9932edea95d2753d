"""How much memory a load may take now, and how sizes are said to people."""

from __future__ import annotations

from dataclasses import dataclass

from quarterdeck.schemas.estimate import MemoryHolder
from quarterdeck.schemas.hardware import HardwareSample

_GIB, _MIB = 1 << 30, 1 << 20


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU, in bytes. `free` is what a load may take: without what others hold and without the reserve."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Room:
    """The memory of this machine, in bytes. Without cards nothing is known of a GPU."""

    cards: tuple[Card, ...]
    host_free: int
    host_total: int

    @property
    def free(self) -> int:
        return sum(card.free for card in self.cards)

    @property
    def total(self) -> int:
        return sum(card.total for card in self.cards)

    def only(self, index: int) -> Room:
        """The same with one card; without that card, the same."""
        return Room(self.cards[index : index + 1], self.host_free, self.host_total) if index < len(self.cards) else self


def room_of(sample: HardwareSample, *, freed_bytes: int = 0, reserve_bytes: int = 0) -> Room:
    """The room for a load: `freed_bytes` will be given back before it, `reserve_bytes` of each card stay free."""
    known = [gpu for gpu in sample.gpus if gpu.memory_total and gpu.memory_used is not None]
    cards = []
    freed = freed_bytes
    for gpu in known:
        total, used = gpu.memory_total or 0, gpu.memory_used or 0
        given_back = min(freed, used)
        freed -= given_back
        cards.append(Card(total, max(total - used + given_back - reserve_bytes, 0)))
    host = sample.host
    host_free = host.memory_total - host.memory_used + (0 if known else freed_bytes)
    return Room(tuple(cards), max(min(host_free, host.memory_total), 0), host.memory_total)


def holders_of(sample: HardwareSample) -> list[MemoryHolder]:
    """Who holds GPU memory now, largest first."""
    holders = [
        MemoryHolder(
            name=process.model or process.name, bytes=process.memory_bytes, pid=process.pid, model=process.model
        )
        for process in sample.processes
        if process.memory_bytes
    ]
    return sorted(holders, key=lambda holder: -holder.bytes)


def spoken(size: int) -> str:
    """`size` bytes for people: 5.2 GiB, 640 MiB."""
    if abs(size) >= _GIB:
        return f"{size / _GIB:.1f} GiB"
    return f"{round(size / _MIB)} MiB"
