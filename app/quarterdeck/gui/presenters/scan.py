"""What a scan found, in words."""

from __future__ import annotations

from quarterdeck.gui.presenters.text import counted
from quarterdeck.schemas.discovery import ScanResult, ServerState

_STATES = {
    ServerState.UP: "answers",
    ServerState.DOWN: "does not answer",
    ServerState.UNKNOWN: "could not be validated",
    ServerState.STARTING: "is starting",
    ServerState.SWITCHING: "is switching models",
    ServerState.DEFECT: "answers, but lacks something",
}


def scan_summary(found: ScanResult) -> str:
    """One line: what is new, changed, gone and passed over."""
    parts = []
    if found.added:
        parts.append(f"{counted(len(found.added), 'new model', 'new models')}")
    if found.changed:
        parts.append(f"{len(found.changed):,} changed")
    if found.gone:
        parts.append(f"{len(found.gone):,} gone")
    running = sum(server.state is not ServerState.DOWN for server in found.servers)
    models = ", ".join(parts) if parts else "no new models"
    servers = counted(running, "server answers", "servers answer") if running else "no server answers"
    words = f"Scan finished: {models}; {servers}."
    if found.passed_over:
        words += f" {counted(len(found.passed_over), 'item was', 'items were')} passed over."
    return words


def scan_sections(found: ScanResult) -> list[tuple[str, list[str]]]:
    """Heading and lines of each part that has any."""
    servers = [
        f"{server.title} at {server.url} {_STATES[server.state]}." + (f" {server.detail}" if server.detail else "")
        for server in found.servers
    ]
    passed = [f"{item.where}: {item.reason} {item.hint}".strip() for item in found.passed_over]
    sections = (
        ("New", found.added), ("Changed", found.changed), ("Gone", found.gone), ("Servers", servers),
        ("Passed over", passed),
    )  # fmt: skip
    return [(heading, list(lines)) for heading, lines in sections if lines]
