"""Time limits of clients by name: those of the settings, one that gives up soon, one that waits."""

from __future__ import annotations

from collections.abc import Callable

from quarterdeck.errors import AppError
from quarterdeck.schemas.access import Profile
from quarterdeck.settings import Settings

DEFAULT = "default"
FAIL_FAST = "fail-fast"
PATIENT = "patient"
NAMES = (DEFAULT, FAIL_FAST, PATIENT)

_FAST_SECONDS = 5.0
_PATIENT_CONNECT_SECONDS = 30.0
_PATIENT_RETRIES = 3


class Profiles:
    """Profiles by name, as the settings have them now."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._made_of: Settings | None = None
        self._known: dict[str, Profile] = {}

    def get(self, name: str) -> Profile:
        """Raises AppError `unknown_profile`."""
        now = self._settings()
        # Settings are immutable, so the same object has the same limits.
        if now is not self._made_of:
            self._known = {profile.name: profile for profile in _profiles(now)}
            self._made_of = now
        known = self._known.get(name)
        if known is None:
            raise unknown_profile(name)
        return known


def unknown_profile(name: str) -> AppError:
    return AppError("unknown_profile", f"There is no profile named “{name}”.", f"Known: {', '.join(NAMES)}.")


def _profiles(settings: Settings) -> list[Profile]:
    default = Profile(
        name=DEFAULT,
        connect=settings.connect_limit,
        first_token=settings.first_token_limit,
        idle=settings.stream_idle_limit,
        total=settings.total_limit,
        retries=settings.request_retries,
    )
    fast = Profile(
        name=FAIL_FAST,
        connect=min(_FAST_SECONDS, settings.connect_limit),
        first_token=_FAST_SECONDS,
        idle=_FAST_SECONDS,
        total=settings.total_limit,
        retries=0,
    )
    patient = Profile(
        name=PATIENT,
        connect=max(_PATIENT_CONNECT_SECONDS, settings.connect_limit),
        first_token=0,
        idle=0,
        total=0,
        retries=max(_PATIENT_RETRIES, settings.request_retries),
    )
    return [default, fast, patient]
