"""How one setting reads on its page: words for choices, text for values, and text back into values. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quarterdeck.errors import AppError

if TYPE_CHECKING:
    from quarterdeck.schemas.system import SettingView

GROUPS = (
    "Window",
    "Server",
    "Clients",
    "Requests",
    "Records",
    "Loading",
    "Scheduling",
    "Discovery",
    "Backends",
    "GPU",
    "Storage",
    "Headers",
)

_WORDS = {
    ("theme", "system"): "Like the desktop",
    ("theme", "light"): "Light",
    ("theme", "dark"): "Dark",
    ("close_action", "tray"): "Keep running in the tray",
    ("close_action", "minimize"): "Minimise the window",
    ("close_action", "quit"): "Quit",
}
_FIXED_SOURCES = ("environment", "command line")


def group_order(name: str) -> tuple[int, str]:
    return (GROUPS.index(name), "") if name in GROUPS else (len(GROUPS), name)


def needle(view: SettingView) -> str:
    """What a search looks into."""
    choices = [choice_words(view.name, choice) for choice in view.choices or ()]
    return "\n".join((view.label, view.help, view.group, view.environment, view.name, *choices)).lower()


def choice_words(setting: str, choice: str) -> str:
    return _WORDS.get((setting, choice), choice.capitalize())


def editable(view: SettingView) -> bool:
    """Environment and command line win over the file, so a change here would have no effect."""
    return view.source not in _FIXED_SOURCES


def note(view: SettingView) -> str:
    """Where the value comes from, when that is not the default, and whether a change waits for a restart."""
    parts = []
    if view.source == "environment":
        parts.append(f"Set by the environment: {view.environment}")
    elif view.source == "command line":
        parts.append("Set on the command line")
    elif view.value != view.default:
        parts.append(f"Default: {as_text(view.default) or 'empty'}")
    if view.restart:
        parts.append("Takes effect when Quarterdeck starts again")
    return " · ".join(parts)


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def from_text(view: SettingView, text: str) -> Any:
    """The value a person typed. Raises AppError `bad_setting` with a sentence for the line below the field."""
    typed = text.strip()
    if isinstance(view.default, list):
        return [part.strip() for part in typed.split(",") if part.strip()]
    if isinstance(view.default, int | float):
        return _number(view, typed)
    return typed


def _number(view: SettingView, typed: str) -> int | float:
    whole = isinstance(view.default, int)
    try:
        number: int | float = int(typed) if whole else float(typed.replace(",", "."))
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise AppError("bad_setting", f"“{typed}” is not {kind}.", _range(view)) from None
    low, high = view.minimum, view.maximum
    if number != number or (low is not None and number < low) or (high is not None and number > high):  # noqa: PLR0124
        raise AppError("bad_setting", f"{as_text(number)} cannot be used.", _range(view))
    return number


def _range(view: SettingView) -> str:
    if view.minimum is not None and view.maximum is not None:
        return f"Choose a number from {as_text(view.minimum)} to {as_text(view.maximum)}."
    if view.minimum is not None:
        return f"Choose {as_text(view.minimum)} or more."
    if view.maximum is not None:
        return f"Choose {as_text(view.maximum)} or less."
    return "Write it in digits."
