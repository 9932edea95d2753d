"""Finding a running core by the lock file in its data folder."""

from __future__ import annotations

import json
from typing import NamedTuple

from quarterdeck.processes import is_alive
from quarterdeck.settings import Folders


class RunningCore(NamedTuple):
    """Where a core answers, and the local token that it accepts."""

    control_url: str
    token: str
    public_url: str | None


def find_core(folders: Folders) -> RunningCore | None:
    """The core that works with these folders; None if there is none, also when it died without cleaning up."""
    try:
        content = json.loads(folders.lock_file.read_text(encoding="utf-8"))
        if not is_alive(content["pid"], content["create_time"]):
            return None
        token = folders.token_file.read_text(encoding="ascii").strip()
        return RunningCore(content["control_url"], token, content.get("public_url"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
