"""What can go wrong between us and a backend, in words."""

from __future__ import annotations

from quarterdeck.errors import AppError
from quarterdeck.proxy.sending import NotReached

UNREACHABLE = "backend_unreachable"


class BackendFailed(AppError):  # noqa: N818 - reads as the event it is
    """The backend is at fault, and might be the next time too."""


def of_connection(model: str, error: Exception, *, begun: bool) -> AppError:
    """What it means that a connection to the backend of `model` broke; `begun` when a part of the answer had come."""
    if isinstance(error, NotReached):
        return _unreachable(model, error.why)
    if isinstance(error, TimeoutError):
        return _too_slow(model, begun)
    return BackendFailed(
        "engine_lost",
        f"The engine of “{model}” stopped answering ({error}).",
        "What happened is told at the model and in the log of its backend. Then send the request again.",
        status=502,
    )


def _unreachable(model: str, why: str) -> AppError:
    return BackendFailed(
        UNREACHABLE,
        f"The backend of “{model}” cannot be reached: {why}.",
        "See on the Backends page whether it runs, and start it there.",
        status=502,
    )


def _too_slow(model: str, begun: bool) -> AppError:
    what = "went silent in the middle of its answer" if begun else "did not begin to answer in time"
    return BackendFailed(
        "backend_silent",
        f"The backend of “{model}” {what}.",
        "Wait longer (Settings, Clients), or send less at once.",
        status=504,
    )


def closing() -> AppError:
    return AppError(
        "closing",
        "Quarterdeck was closed while the answer was being written.",
        "Start Quarterdeck again, then send the request again.",
        status=503,
    )


def defect(error: BaseException) -> AppError:
    return AppError(
        "internal_error",
        f"Quarterdeck made a mistake while answering ({error}).",
        "Its own log says more; please report it.",
        status=500,
    )
