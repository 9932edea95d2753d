"""Models that are the same file at several places, so that one can stand in for another without anybody's notice."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from quarterdeck.registry.names import fold
from quarterdeck.schemas.models import ModelView

_NEAR_ENDINGS = (".localhost", ".local", ".lan", ".home", ".internal", ".home.arpa")

Twins = Mapping[str, tuple[str, ...]]
"""For each model that has twins, their names in order."""


def find_twins(views: Iterable[ModelView]) -> Twins:
    """The same file in two engines, or the same id of the same size at two servers of one kind.

    What is said to a model near by is never sent far away on its own: a server outside the local network has no twins.
    """
    alike: dict[tuple[str, ...], list[ModelView]] = {}
    for view in views:
        if view.hidden is None and (key := _key(view)) is not None:
            alike.setdefault(key, []).append(view)
    found: dict[str, tuple[str, ...]] = {}
    for group in alike.values():
        if len(group) > 1:
            for view in group:
                if others := tuple(sorted(other.name for other in group if _is_twin(view, other))):
                    found[view.name] = others
    return found


def _key(view: ModelView) -> tuple[str, ...] | None:
    if view.url is None:
        return None if view.path is None else ("file", view.path)
    return ("id", view.backend, fold(view.served_name)) if is_near(view.url) else None


def _is_twin(view: ModelView, other: ModelView) -> bool:
    if view.name == other.name:
        return False
    if view.url is None or other.url is None:
        # Two entries of one file in one engine are told apart by their options: a person wants the one or the other.
        return view.backend != other.backend
    sizes = {view.size_bytes, other.size_bytes} - {None}
    return view.url != other.url and len(sizes) < 2


def is_near(url: str) -> bool:
    """Whether the address is one of this machine or of the local network. No name is looked up."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_NEAR_ENDINGS)
