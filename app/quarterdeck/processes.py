"""Telling one process from a later one with the same pid, and ending processes that nobody waits for."""

from __future__ import annotations

import contextlib
import time

import psutil

SAME_START = 1.0
"""Create times that differ by less (seconds) belong to one process: they are rounded on their way through files."""
AFTER_KILL_S = 2.0
_LOOK_S = 0.02


def is_alive(pid: int, create_time: float) -> bool:
    """Whether that very process still runs; a later process with the same pid does not count."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - create_time) < SAME_START
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_family(pid: int, create_time: float, patience: float) -> bool:
    """End a process and everything it started: ask, then kill after `patience` seconds. Blocks until they are gone.

    True when they are, also when that very process had ended before; False when the system cannot end one of them.
    """
    if not is_alive(pid, create_time):
        return True
    family = _family(pid)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.terminate()
    if _gone(family, patience):
        return True
    family = list({*family, *_family(pid)})
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    return _gone(family, AFTER_KILL_S)


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _gone(family: list[psutil.Process], patience: float) -> bool:
    """Wait for all of them. Looked at and not waited for: our own children are reaped by who started them."""
    deadline = time.monotonic() + patience
    while any(_runs(member) for member in family):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_S)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
