"""What commands print: the answer alone on stdout, remarks on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel


def out(value: object) -> None:
    """Text as it is, anything else as one JSON document."""
    sys.stdout.write((value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """A remark beside the answer."""
    sys.stderr.write(line + "\n")


def plain(value: BaseModel) -> dict[str, object]:
    return value.model_dump(mode="json")


def absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
