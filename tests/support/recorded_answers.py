"""What real backends answered, by the titles of the recordings in tests/proxy/recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[1] / "proxy" / "recorded"
_SECTION = re.compile(r"^##### (.+) (\d{3})\n", re.MULTILINE)


def recorded_answers(name: str) -> dict[str, tuple[int, bytes]]:
    """Status and body of every answer in a recording (`ollama`, `vllm`, `llamacpp`)."""
    parts = _SECTION.split((_FOLDER / f"{name}.txt").read_text(encoding="utf-8"))[1:]
    rows = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {title: (int(status), body.strip().encode() + b"\n\n") for title, status, body in rows}


def recorded_fields(name: str, title: str) -> dict[str, Any]:
    """One answer that is a JSON object."""
    fields = json.loads(recorded_answers(name)[title][1])
    assert isinstance(fields, dict)
    return fields
