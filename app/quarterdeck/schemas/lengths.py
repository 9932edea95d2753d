"""Lengths of time in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """As coarse as people need it: “40 s”, “12 min”, “2 h 49 min”, “3 d 4 h”."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
