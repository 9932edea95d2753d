"""The calls of `/api/problems` and `/api/fixes`, as a window makes them."""

from __future__ import annotations

from typing import Any

from scripted_core import ScriptedCore


class Mender:
    """A person at work on the problems of `core`."""

    def __init__(self, core: ScriptedCore) -> None:
        self._http = core.http

    def problem(self, subject: str) -> dict[str, Any]:
        """The only problem with `subject`."""
        (found,) = (each for each in self._http.get("/api/problems").json() if each["subject"] == subject)
        return dict(found)

    def ask(self, step: str, problem: dict[str, Any], kind: str) -> Any:
        """`preview` or `apply` the first fix of that kind."""
        fix = next(each for each in problem["fixes"] if each["kind"] == kind)
        body = {"problem_id": problem["id"], "fix_id": fix["id"]}
        return self._http.post(f"/api/fixes/{step}", json=body).raise_for_status().json()

    def undo(self, undo_id: str) -> Any:
        return self._http.post(f"/api/fixes/{undo_id}/undo")

    def config(self, name: str) -> str:
        return str(self._http.get(f"/api/models/{name}").json()["load_config"])
