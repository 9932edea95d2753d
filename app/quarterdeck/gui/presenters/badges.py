"""How each compatibility status looks: a shape, a word, a tone, and what it means in a sentence."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from quarterdeck.schemas.models import Retest, Status


class Tone(StrEnum):
    """Which colours of the theme a badge takes."""

    NEUTRAL = "neutral"
    OK = "ok"
    WARN = "warn"
    ERROR = "error"
    INFO = "info"


class Badge(NamedTuple):
    """A status as it is shown: an icon whose shape differs without colour, and `meaning`, led by the official word."""

    icon: str
    word: str
    tone: Tone
    meaning: str


BADGES: dict[Status, Badge] = {
    Status.COMPATIBLE: Badge("ok", "Works", Tone.OK, "compatible – it loads on this computer."),
    Status.DEGRADED: Badge(
        "degraded", "Unsteady", Tone.WARN, "degraded – it has worked here, but failed not long ago."
    ),
    Status.INCOMPATIBLE: Badge(
        "error", "Does not work", Tone.ERROR, "incompatible – loading it failed on this computer."
    ),
    Status.TESTING: Badge(
        "testing", "Being tested", Tone.INFO, "testing – a load is under way, or one was interrupted."
    ),
    Status.UNKNOWN: Badge("unknown", "Unknown", Tone.NEUTRAL, "unknown – it has not been loaded here yet."),
}

RETEST: dict[Retest, tuple[str, str]] = {
    Retest.HARDWARE: (
        "Hardware changed – test again",
        "This result comes from other hardware. Load the model again to see whether it still holds.",
    ),
    Retest.CONFIG: (
        "Settings changed – test again",
        "This result comes from another configuration. Load the model again to see whether it still holds.",
    ),
}


def badge(status: Status) -> Badge:
    return BADGES[status]


def status_choice(status: Status) -> str:
    """A status in a list of choices: the plain word, and the official one where it differs."""
    word = BADGES[status].word
    return word if word.lower() == status.value else f"{word} ({status.value})"
