"""Telling one process from a later one with the same pid."""

from __future__ import annotations

import psutil

SAME_START = 1.0
"""Create times that differ by less (seconds) belong to one process: they are rounded on their way through files."""


def is_alive(pid: int, create_time: float) -> bool:
    """Whether that very process still runs; a later process with the same pid does not count."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - create_time) < SAME_START
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
