"""Reads lists of server addresses, as Open WebUI keeps them in its environment."""

from __future__ import annotations

import re

from quarterdeck.registry.importers.plan import ImportPlan
from quarterdeck.registry.importers.texts import wrong

FORMAT = "url_lists"
TITLE = "Addresses of servers"

_NAMES = ("OPENAI_API_BASE_URLS", "OPENAI_API_BASE_URL", "OLLAMA_BASE_URLS", "OLLAMA_BASE_URL", "OLLAMA_API_BASE_URL")
_LINE = re.compile(r"^\s*(?:-\s*)?(?:export\s+)?['\"]?(?P<name>[A-Z][A-Z0-9_]*)\s*[=:]\s*(?P<value>.*?)['\"]?\s*$")
_URL = re.compile(r"^https?://[^\s;,'\"<>]+$", re.IGNORECASE)
_KEYS = "OPENAI_API_KEYS"


def is_url_list(text: str) -> bool:
    found = [_LINE.match(line) for line in _lines(text)]
    if any(line and line["name"] in _NAMES for line in found):
        return True
    items = _items(text.replace("\n", ";"))
    return bool(items) and all(_URL.match(item) for item in items)


def read(text: str) -> ImportPlan:
    """Raises ConfigError naming the line with an address that is none."""
    plan = ImportPlan(FORMAT, TITLE)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        named = _LINE.match(line)
        if named and named["name"] not in _NAMES:
            if named["name"].startswith(_KEYS[:-1]):
                plan.warnings.append("API keys are not carried over; add each to its server.")
            continue
        for item in _items(named["value"] if named else line):
            _add(plan, _address(item, named["name"] if named else ""), number, line)
    if not plan.servers:
        raise wrong("there is no address in it", 0, 0, "Write http://host:port, several with semicolons between them.")
    return plan


def _add(plan: ImportPlan, url: str, number: int, line: str) -> None:
    if not _URL.match(url):
        column = line.find(url) + 1
        raise wrong(f"“{url[:80]}” is not an address", number, max(column, 1), "Write http://host:port.")
    if url not in plan.servers:
        plan.servers.append(url)


def _address(item: str, name: str) -> str:
    """An item as the address that it stands for there."""
    url = item.rstrip("/")
    if name == "OLLAMA_API_BASE_URL":
        url = url.removesuffix("/api")
    return url


def _items(value: str) -> list[str]:
    parts = re.split(r"[;,\s]+", value.strip().strip("'\""))
    return [part for each in parts if (part := each.strip().strip("'\""))]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
