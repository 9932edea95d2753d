"""Changes of gateway configurations as plans: what the files would be, before anything is written."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from quarterdeck.diagnosis.drift import gateway_checks, layers
from quarterdeck.diagnosis.drift.files import ConfigFile
from quarterdeck.diagnosis.drift.gateway import read_gateway
from quarterdeck.errors import AppError
from quarterdeck.schemas.problems import Change

_MOST_CHANGES = 40
_CONTEXT = 1


class Way(StrEnum):
    """How several configurations are brought together, or one is made right."""

    MERGE = "merge"
    SEPARATE = "separate"
    LAYERED = "layered"
    MAKE_AGAIN = "make again"
    RELOAD = "reload"


@dataclass(frozen=True)
class Plan:
    """`before` holds the files as they were read (None: not there), `after` as they will be.

    `servers` are restarted afterwards, and have to offer all of `expected` then.
    """

    title: str
    before: Mapping[Path, str | None]
    after: Mapping[Path, str]
    servers: tuple[str, ...] = ()
    expected: frozenset[str] = field(default_factory=frozenset)
    consequence: str = ""

    def changes(self) -> list[Change]:
        """What changes in the files, part by part."""
        found = [change for path in self.after for change in _changes(path, self.before.get(path) or "",
                                                                      self.after[path])]  # fmt: skip
        if len(found) > _MOST_CHANGES:
            rest = len(found) - _MOST_CHANGES
            found = [*found[:_MOST_CHANGES], Change(what=f"and {rest} more", before="", after="")]
        return found

    def patch(self) -> str:
        """The same as a unified diff."""
        return "".join(
            line
            for path, text in self.after.items()
            for line in difflib.unified_diff(
                (self.before.get(path) or "").splitlines(keepends=True),
                text.splitlines(keepends=True),
                f"{path} (now)",
                f"{path} (then)",
            )
        )

    @property
    def stamp(self) -> str:
        """Changes when one of the files that it was made from does."""
        texts = "\0".join(f"{path}\0{text}" for path, text in sorted(self.before.items()))
        return hashlib.sha256(texts.encode()).hexdigest()[:16]


def plan(way: Way, active: ConfigFile, other: ConfigFile | None) -> Plan:
    """The plan for a file that a gateway uses and, but for MAKE_AGAIN and RELOAD, another one. Raises AppError.

    `not_usable` when one of the files cannot be read, `nothing_to_do`, or `still_faulty` when the result would be.
    """
    makers: Mapping[Way, Callable[[ConfigFile, ConfigFile], Plan]] = {
        Way.MERGE: _merge, Way.SEPARATE: _separate, Way.LAYERED: _layered,
    }  # fmt: skip
    _need_usable(active)
    if way is Way.RELOAD:
        return _reload(active)
    if way is Way.MAKE_AGAIN:
        made = _make_again(active)
    else:
        if other is None:
            raise AppError("no_other_file", "It takes a second configuration for that.", "Follow one by importing it.")
        _need_usable(other)
        made = makers[way](active, other)
    if all(made.before.get(path) == text for path, text in made.after.items()):
        raise AppError("nothing_to_do", "Nothing would change.", "", status=409)
    _need_sound(made, active.path)
    return made


def _reload(active: ConfigFile) -> Plan:
    return Plan(
        title=f"Restart {active.used_by} with {active.path.name} as it is now",
        before={active.path: active.text}, after={}, servers=active.fact.users, expected=_names(active.text),
        consequence=_restarts(active),
    )  # fmt: skip


def _merge(active: ConfigFile, other: ConfigFile) -> Plan:
    return Plan(
        title=f"Put what {other.path.name} adds into {active.path.name}",
        before={active.path: active.text, other.path: other.text},
        after={active.path: (text := layers.merged(active.text, other.text, other.path))},
        servers=active.fact.users,
        expected=_names(text),
        consequence=f"{active.path.name} wins where both speak. {_restarts(active)}",
    )


def _separate(active: ConfigFile, other: ConfigFile) -> Plan:
    return Plan(
        title=f"Keep {active.path.name} and {other.path.name} apart on purpose",
        before={active.path: active.text, other.path: other.text},
        after={
            active.path: layers.marked_separate(active.text, other.path),
            other.path: layers.marked_separate(other.text, active.path),
        },
        consequence="Both files get a remark at their head; nothing is restarted, and the difference is no problem "
        "any more.",
    )


def _layered(active: ConfigFile, other: ConfigFile) -> Plan:
    """The other file is the base; what the active one has otherwise becomes its overlay."""
    overlay_path = active.path.with_name(f"{active.path.stem}.overlay{active.path.suffix}")
    overlay = layers.overlay_of(active.text, other.text)
    text = layers.composed(other.text, overlay, other.path, overlay_path)
    return Plan(
        title=f"Make {active.path.name} from {other.path.name} as the base and an overlay",
        before={active.path: active.text, overlay_path: _there(overlay_path), other.path: other.text},
        after={overlay_path: overlay, active.path: text},
        servers=active.fact.users,
        expected=_names(text),
        consequence=f"From now on the base and {overlay_path.name} are edited, and {active.path.name} is made from "
        f"them. {_restarts(active)}",
    )


def _make_again(active: ConfigFile) -> Plan:
    made = layers.made_from(active.text)
    if made is None:
        raise AppError("not_made", f"{active.path} was not made from other files by Quarterdeck.", "", status=409)
    base, overlay = _there(made.base), _there(made.overlay)
    if base is None or overlay is None:
        raise AppError("file_missing", "The base or the overlay is not there.", "Put it back.", status=409)
    text = layers.composed(base, overlay, made.base, made.overlay)
    return Plan(
        title=f"Make {active.path.name} again from its base and its overlay",
        before={active.path: active.text, made.base: base, made.overlay: overlay}, after={active.path: text},
        servers=active.fact.users, expected=_names(text), consequence=_restarts(active),
    )  # fmt: skip


def _names(text: str) -> frozenset[str]:
    return frozenset(name for name in read_gateway(text).names if name and "*" not in name)


def _there(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError:
        return None


def _restarts(active: ConfigFile) -> str:
    if not active.fact.users:
        return "No server uses it now."
    done = "started with it" if active.rests else "restarted"
    return f"{active.used_by} is {done}; if it does not work then, everything is put back."


def _need_usable(file: ConfigFile) -> None:
    if not file.usable or file.gateway is None:
        fault = str(file.faults[0]) if file.faults else "It is no gateway's configuration."
        raise AppError("not_usable", f"{file.path} cannot be used: {fault}", "Correct it first.", status=409)


def _need_sound(made: Plan, path: Path) -> None:
    """The result may have no error that the file did not have before."""
    before = {(fault.code, fault.sentence) for fault in gateway_checks.check(read_gateway(made.before[path] or ""))}
    new = [
        fault
        for fault in gateway_checks.check(read_gateway(made.after[path]))
        if fault.level == "error" and (fault.code, fault.sentence) not in before
    ]
    if new:
        raise AppError("still_faulty", f"The result would have a fault. {new[0]}", "Correct the files first.",
                       status=409)  # fmt: skip


def _changes(path: Path, before: str, after: str) -> list[Change]:
    old, new = before.splitlines(), after.splitlines()
    found = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT):
        told = [(old[a:b], new[c:d]) for kind, a, b, c, d in group if kind != "equal"]
        where = next(c for kind, _, _, c, _ in group if kind != "equal") + 1
        found.append(
            Change(
                what=f"{path}, line {where}",
                before="\n".join(line for lines, _ in told for line in lines),
                after="\n".join(line for _, lines in told for line in lines),
            )
        )
    return found
