"""What the type of a setting cannot tell of its value: start commands and addresses are read when they are entered."""

from __future__ import annotations

from collections.abc import Collection

from quarterdeck.backends import addresses, autostart
from quarterdeck.control import origins
from quarterdeck.settings import Settings

_ADDRESSES = ("ollama_url", "litellm_url")
_LISTS = ("server_urls", "ollama_urls")


def check_settings(new: Settings, changed: Collection[str]) -> None:
    """Raises AppError `bad_setting` or `bad_address` for a value in `changed` that nothing could be done with."""
    if "autostart_map" in changed:
        autostart.commands(new.autostart_map)
    if not origins.SETTINGS.isdisjoint(changed):
        origins.check(new)
    for name in _ADDRESSES:
        if name in changed:
            addresses.parse(getattr(new, name))
    for name in _LISTS:
        for url in getattr(new, name) if name in changed else ():
            addresses.parse(url)
