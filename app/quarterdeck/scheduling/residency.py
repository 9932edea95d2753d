"""Who may live together on this machine's memory, and who has to go. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenant:
    """A model as far as its right to stay goes.

    `holds` is False where it takes nothing of this machine's memory: on a gateway, on a server elsewhere, asleep. Of
    those with the same `place`, such as the one port of an engine, only one can be there at a time.
    """

    name: str
    group: str = ""
    pinned: bool = False
    holds: bool = True
    place: str = ""


def may_live_together(one: Tenant, other: Tenant) -> bool:
    """Models of one group may, a pinned one may with all, and so may those that hold no memory here."""
    if not (one.holds and other.holds):
        return True
    if one.place != "" and one.place == other.place:
        return False
    return one.pinned or other.pinned or (one.group != "" and one.group == other.group)


def must_leave(newcomer: Tenant, residents: Iterable[Tenant]) -> list[str]:
    """The residents that have to make room for `newcomer`; pinned ones never do."""
    return [
        resident.name
        for resident in residents
        if resident.name != newcomer.name and not resident.pinned and not may_live_together(newcomer, resident)
    ]
