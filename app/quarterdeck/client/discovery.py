"""Finding a running core by the lock file in its data folder."""

from __future__ import annotations

import json
from typing import NamedTuple

import psutil

from quarterdeck.settings import Folders

_SAME_PROCESS = 1.0


class RunningCore(NamedTuple):
    """Where a core answers, and the local token that it accepts."""

    control_url: str
    token: str
    public_url: str | None


def find_core(folders: Folders) -> RunningCore | None:
    """The core that works with these folders; None if there is none, also when it died without cleaning up."""
    try:
        content = json.loads(folders.lock_file.read_text(encoding="utf-8"))
        process = psutil.Process(content["pid"])
        if abs(process.create_time() - content["create_time"]) > _SAME_PROCESS:
            return None
        token = folders.token_file.read_text(encoding="ascii").strip()
        return RunningCore(content["control_url"], token, content.get("public_url"))
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
