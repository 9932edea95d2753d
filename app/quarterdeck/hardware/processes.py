"""Which processes hold GPU memory: who they are, which model they belong to, and which nobody looks after."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from quarterdeck.errors import AppError
from quarterdeck.hardware import programs
from quarterdeck.processes import end_family, is_alive
from quarterdeck.schemas.hardware import GpuProcess

ALARM_AFTER_S = 10.0
_LOOKED_UP_AGAIN_S = 30.0
_MOST_ANCESTORS = 64
# Programs that engines can be started by for good, also as the first process of a container.
_SUPERVISORS = frozenset({"supervisord", "s6-svscan", "runsvdir", "runit"})
_REAPERS = frozenset({"systemd", "init", "launchd", "tini", "dumb-init", "catatonit"})


class Held(NamedTuple):
    """What the driver says: the process `pid` holds this many bytes of the GPU `gpu`; None when it does not tell."""

    gpu: int
    pid: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What hardly changes while a process runs."""

    create_time: float
    name: str
    command: str | None
    user: str | None
    own_user: bool
    engine: bool
    part: bool
    cared_for: bool
    settled: bool


class _Seen(NamedTuple):
    at: float
    readable: bool
    processes: tuple[GpuProcess, ...]
    lineages: Mapping[int, tuple[int, ...]]


class ProcessBook:
    """Describes the processes that hold GPU memory and finds the models they work for.

    `owners` maps the pid of an engine (its root process) to (model, backend); whoever starts and stops engines
    replaces the mapping. A process belongs to the nearest of its ancestors in it, or to its own entry. `describe` is
    called on one thread; everything else may be asked from any.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.owners: Mapping[int, tuple[str, str]] = {}
        self._clock = clock
        self._facts: dict[int, _Facts] = {}
        self._seen = _Seen(0.0, False, (), {})

    @property
    def readable(self) -> bool:
        """Whether the driver told at the last reading which processes hold how much memory."""
        return self._seen.readable

    @property
    def read_at(self) -> float:
        """When the driver answered last, on the monotonic clock."""
        return self._seen.at

    def describe(self, held: Sequence[Held], *, readable: bool, at: float) -> list[GpuProcess]:
        """The processes with name, owner and model, the largest of each GPU first.

        `readable` says whether the driver lists processes and their memory, `at` when it answered (monotonic clock).
        """
        parents: dict[int, int] = {}
        lineages = {pid: _lineage(pid, parents) for pid in {each.pid for each in held}}
        processes = [self._describe(each, lineages[each.pid]) for each in held]
        processes.sort(key=lambda process: (process.gpu, -(process.memory_bytes or 0), process.pid))
        self._facts = {pid: facts for pid, facts in self._facts.items() if pid in parents}
        self._seen = _Seen(at, readable, tuple(processes), lineages)
        return processes

    def vram_of(self, model: str) -> int | None:
        """Bytes of GPU memory that the engine of `model` and its children held when last looked; None if unknown."""
        seen = self._seen
        if not seen.readable:
            return None
        mine = [each for each in seen.processes if self._owner(seen.lineages[each.pid])[0] == model]
        known = [each.memory_bytes for each in mine if each.memory_bytes is not None]
        return sum(known) if len(known) == len(mine) else None

    def alarm(self, model: str, loaded_for_s: float) -> str | None:
        """Says it when a model that was loaded so long ago (seconds) and that should use the GPU holds nothing there.

        Ask only for models that are meant to use the GPU. None also while the newest reading is from the first
        seconds after the load, or when the driver does not tell.
        """
        then = loaded_for_s - (self._clock() - self._seen.at)
        known = any(name == model for name, _ in self.owners.values())
        if then < ALARM_AFTER_S or not known or self.vram_of(model) != 0:
            return None
        return f"{model} is loaded, but nothing of it is in GPU memory: it runs on the processor."

    def owner_of(self, pid: int) -> tuple[str, str] | None:
        """The model and the backend that a process works for, itself or through one of its ancestors."""
        model, backend = self._owner(_lineage(pid, {}))
        return None if model is None or backend is None else (model, backend)

    def holders_among(self, pids: Collection[int]) -> list[GpuProcess]:
        """Those of the last reading that are one of `pids` or were started by one of them."""
        seen, wanted = self._seen, set(pids)
        return [each for each in seen.processes if wanted.intersection(seen.lineages[each.pid])]

    def _describe(self, held: Held, lineage: tuple[int, ...]) -> GpuProcess:
        facts = self._look_up(held.pid)
        if facts is None:
            return GpuProcess(gpu=held.gpu, pid=held.pid, name="", memory_bytes=held.memory_bytes, own_user=False)
        model, backend = self._owner(lineage)
        return GpuProcess(
            gpu=held.gpu,
            pid=held.pid,
            name=facts.name,
            command=facts.command,
            user=facts.user,
            age_s=round(max(time.time() - facts.create_time, 0.0), 1),
            create_time=facts.create_time,
            memory_bytes=held.memory_bytes,
            model=model,
            backend=backend,
            orphan=model is None and facts.engine and not facts.cared_for and self._is_left(lineage),
            own_user=facts.own_user,
        )

    def _owner(self, lineage: Sequence[int]) -> tuple[str | None, str | None]:
        owners = self.owners
        return next((owners[pid] for pid in lineage if pid in owners), (None, None))

    def _is_left(self, lineage: Sequence[int]) -> bool:
        """Whether the parent is gone; above the workers of an engine it is the engine's own parent that counts."""
        at = 0
        while at + 1 < len(lineage) and (above := self._look_up(lineage[at + 1])) is not None and above.part:
            at += 1
        if at + 1 >= len(lineage):
            return True
        parent = lineage[at + 1]
        name = _name(parent).lower()
        return name not in _SUPERVISORS and (parent == 1 or name in _REAPERS)

    def _look_up(self, pid: int) -> _Facts | None:
        """The facts about a process, read once; young processes still change their names."""
        known = self._facts.get(pid)
        if known is not None and known.settled and is_alive(pid, known.create_time):
            return known
        facts = _facts(pid)
        if facts is not None:
            self._facts[pid] = facts
        return facts


def stop_process(pid: int, create_time: float, patience: float) -> None:
    """End a process of this user that holds GPU memory, and what it started. Blocks: call it in a thread.

    It is asked to end and killed after `patience` seconds. Raises AppError when it is not the process meant (by its
    create time in seconds since the epoch), belongs to somebody else, is needed by the desktop or by Quarterdeck
    itself, or cannot be ended.
    """
    _refuse_own(pid)
    if not is_alive(pid, create_time):
        raise AppError(
            "process_gone", f"The program with PID {pid} has already ended.", "Nothing needs to be done.", status=404
        )
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
        name = programs.program(process.name(), command)
        user, own = _user(process)
        _refuse_protected(process, name)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        name, user, own = f"PID {pid}", None, False
    if not own:
        raise AppError(
            "process_of_another_user",
            f"{name} belongs to {user or 'another user'}. Quarterdeck ends only programs of the user it runs as.",
            "Ask that user or the administrator of this computer to end it.",
            status=403,
        )
    if not end_family(pid, create_time, patience):
        raise AppError(
            "process_stays",
            f"{name} (PID {pid}) did not end, although it was killed: the system still holds it.",
            "This happens when the driver hangs. Wait a moment; if it stays, restart the computer.",
            status=500,
        )


def _refuse_own(pid: int) -> None:
    own = {os.getpid(), *_lineage(os.getpid(), {})}
    if pid <= 1 or pid in own:
        subject = "the first process of this system" if pid <= 1 else "Quarterdeck or a program it runs in"
        raise _protected(f"PID {pid} is {subject}.", "Close it by hand if you really want it to end.")


def _refuse_protected(process: psutil.Process, name: str) -> None:
    if programs.is_desktop(process.name()):
        raise _protected(
            f"{name} (PID {process.pid}) is a part of the desktop: ending it would end your session.",
            "Log out if you want its memory back.",
        )
    if _leads_terminal(process.pid):
        raise _protected(
            f"{name} (PID {process.pid}) leads a session in a terminal: ending it would end all that runs there.",
            "End the program inside it, or close the terminal.",
        )


def _leads_terminal(pid: int) -> bool:
    """Whether this is a login shell or the like: the leader of a session that has a terminal.

    psutil knows only the terminals that were there when it was asked first.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        _state, _parent, _group, session, terminal = stat.rpartition(")")[2].split()[:5]
    except (OSError, ValueError):
        return False
    return terminal != "0" and session == str(pid)


def _protected(sentence: str, hint: str) -> AppError:
    return AppError("process_protected", f"{sentence} It is not ended.", hint, status=403)


def _lineage(pid: int, parents: dict[int, int]) -> tuple[int, ...]:
    """The process, its parent, and so on up; `parents` is what one pass has found so far."""
    lineage: list[int] = []
    while pid > 0 and pid not in lineage and len(lineage) < _MOST_ANCESTORS:
        lineage.append(pid)
        if pid not in parents:
            parents[pid] = _parent(pid)
        pid = parents[pid]
    return tuple(lineage)


def _parent(pid: int) -> int:
    """The pid of the parent, 0 when there is none; on Windows the pid may be of a later process, which is none."""
    try:
        parent = psutil.Process(pid).parent()
    except psutil.Error:
        return 0
    return parent.pid if parent is not None else 0


def _facts(pid: int) -> _Facts | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            create_time = process.create_time()
            raw = process.name()
            try:
                command = process.cmdline()
            except psutil.AccessDenied:
                command = []
            user, own = _user(process)
    except psutil.Error:
        return None
    name = programs.program(raw, command)
    return _Facts(
        create_time=create_time,
        name=name,
        command=programs.command_line(command),
        user=user,
        own_user=own,
        engine=programs.is_engine(name),
        part=programs.is_engine(name) and programs.is_part(name, command),
        cared_for=programs.is_desktop(raw) or programs.is_service(_cgroup(pid)),
        settled=time.time() - create_time > _LOOKED_UP_AGAIN_S,
    )


def _user(process: psutil.Process) -> tuple[str | None, bool]:
    """The name of its user, and whether it is the user we run as."""
    try:
        if hasattr(os, "getuid"):
            return process.username(), process.uids().real == os.getuid()
        return process.username(), process.username() == psutil.Process().username()
    except psutil.Error:
        return None, False


def _name(pid: int) -> str:
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return ""


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
