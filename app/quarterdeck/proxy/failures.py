"""What can go wrong between us and a backend, in words."""

from __future__ import annotations

from quarterdeck.errors import AppError
from quarterdeck.proxy.sending import NotReached
from quarterdeck.proxy.wire import Garbled

UNREACHABLE = "backend_unreachable"


class BackendFailed(AppError):  # noqa: N818 - reads as the event it is
    """The backend is at fault, and might be the next time too."""


def of_connection(model: str, error: Exception, lost_by: str) -> AppError:
    """What it means that a connection to the backend of `model` broke; `lost_by` says how patience with it ended."""
    if isinstance(error, NotReached):
        return _unreachable(model, error.why)
    if isinstance(error, TimeoutError):
        return _too_slow(model, lost_by)
    if isinstance(error, Garbled):
        return bad_answer(str(error))
    return BackendFailed(
        "engine_lost",
        f"The engine of “{model}” stopped answering ({error}).",
        "What happened is told at the model and in the log of its backend. Then send the request again.",
        status=502,
    )


def bad_answer(why: str) -> AppError:
    """An answer that is none. `why` completes the sentence “it cannot be used: …”."""
    return BackendFailed(
        "bad_answer",
        f"The answer of the backend cannot be used: {why}.",
        "Look at the log of the backend; the address may belong to another program.",
        status=502,
    )


def _unreachable(model: str, why: str) -> AppError:
    return BackendFailed(
        UNREACHABLE,
        f"The backend of “{model}” cannot be reached: {why}.",
        "See on the Backends page whether it runs, and start it there.",
        status=502,
    )


def _too_slow(model: str, lost_by: str) -> AppError:
    return BackendFailed(
        "backend_silent",
        f"The backend of “{model}” {lost_by}.",
        "Wait longer (Settings, Clients), or send less at once.",
        status=504,
    )


def client_stuck() -> AppError:
    return AppError("client_stuck", "The client stopped taking the answer, so it was ended.", status=499)


def closing() -> AppError:
    return AppError(
        "closing",
        "Quarterdeck was closed while the answer was being written.",
        "Start Quarterdeck again, then send the request again.",
        status=503,
    )


def too_deep() -> AppError:
    return AppError("invalid_request", "The request is nested too deeply.", "Send flatter JSON.")


def defect(error: BaseException) -> AppError:
    return AppError(
        "internal_error",
        f"Quarterdeck made a mistake while answering ({error}).",
        "Its own log says more; please report it.",
        status=500,
    )
