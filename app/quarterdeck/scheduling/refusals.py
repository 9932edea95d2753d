"""The answers to loads and requests that are not tried, or that give up before an engine starts."""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.backends.base import Resident
from quarterdeck.errors import AppError
from quarterdeck.schemas.estimate import Estimate
from quarterdeck.schemas.hardware import GpuProcess
from quarterdeck.schemas.models import Status

GIB = 1024**3
MEMORY_NOT_RELEASED = "memory_not_released"
NOT_RUNNING = "backend_not_running"
BUSY_RETRY = 10
YIELD_RETRY = 30


def incompatible(name: str, notes: str) -> AppError:
    """A model that failed here before is not loaded by accident."""
    return AppError(
        "incompatible",
        f"“{name}” is marked incompatible with this hardware." + (f" Notes: {notes}" if notes else ""),
        "Change its load_config and set its status to unknown, or load it anyway with force_load=true.",
        status=409,
        details={"compatibility_status": Status.INCOMPATIBLE.value, "compatibility_notes": notes},
    )


def cancelled(name: str, reason: str) -> AppError:
    return AppError("load_cancelled", f"Loading “{name}” was cancelled: {reason}.", "Load it again.", status=409)


def not_loaded(name: str) -> AppError:
    """Models are not loaded on request."""
    return AppError(
        "not_loaded",
        f"“{name}” is not loaded, and models are not loaded on request.",
        "Load it in Quarterdeck, or turn on “Load on request” in Settings.",
        status=424,
    )


def queue_full(limit: int, retry_after: int) -> AppError:
    return AppError(
        "queue_full",
        f"{limit} requests wait for models to load already.",
        "Try again a little later.",
        status=503,
        details={"retry_after": retry_after},
    )


def cooling_down(name: str, seconds: int) -> AppError:
    return AppError(
        "cooling_down",
        f"“{name}” failed a moment ago; it is tried again in {seconds} s.",
        "Look at why it failed. Loading it in Quarterdeck tries it at once.",
        status=503,
        details={"retry_after": seconds},
    )


def yielded(name: str, program: str) -> AppError:
    return AppError(
        "yielded",
        f"“{name}” is not loaded while {program} runs: models give way to it.",
        f"End {program}, load the model in Quarterdeck all the same, or change “Give way to programs” in Settings.",
        status=503,
        details={"retry_after": YIELD_RETRY},
    )


def busy(name: str, holders: Sequence[tuple[str, int]], seconds: float) -> AppError:
    """Those who hold the memory, each with the number of its requests, did not become idle in `seconds`."""
    who = " and ".join(f"“{holder}” ({count} {_requests(count)})" for holder, count in holders)
    return AppError(
        "busy",
        f"“{name}” cannot be loaded yet: after {seconds:.0f} s requests are still being answered by {who}.",
        "Try again when they have ended, or unload the busy model.",
        status=503,
        details={"retry_after": BUSY_RETRY, "holders": [holder for holder, _ in holders]},
    )


def held_by_other(name: str, backend: str, resident: Resident) -> AppError:
    return AppError(
        "held_by_other",
        f"“{name}” cannot be loaded: {backend} at {resident.url} holds “{resident.served_id}”, which somebody else "
        "loaded, and it cannot be asked to give it up.",
        "Stop that server on the Backends page or where it was started, then load the model again. With "
        "force_load=true it is loaded beside it.",
        status=409,
        details={"holder": {"backend": backend, "model": resident.served_id, "url": resident.url}},
    )


def memory_not_released(seconds: float, holders: Sequence[GpuProcess]) -> AppError:
    """An engine is gone, yet its memory is not free."""
    who = ", ".join(f"{each.name} (pid {each.pid}{_size(each.memory_bytes)})" for each in holders)
    return AppError(
        MEMORY_NOT_RELEASED,
        f"The GPU memory of the model that made room was not free after {seconds:.0f} s."
        + (f" It is held by {who}." if who else ""),
        "Stop the process that holds it on the GPU page, or raise “Patience for free memory” in Settings.",
        status=507,
        details={"holders": [{"pid": each.pid, "name": each.name, "bytes": each.memory_bytes} for each in holders]},
    )


def does_not_fit(name: str, estimate: Estimate) -> AppError:
    return AppError(
        "does_not_fit",
        estimate.sentence or f"“{name}” needs more GPU memory than there is.",
        estimate.hint or "Choose a shorter context or a smaller model, or load it anyway with force_load=true.",
        status=507,
        details={"estimate": estimate.model_dump(mode="json")},
    )


def unknown_backend(name: str, known: Sequence[str]) -> AppError:
    return AppError(
        "unknown_backend", f"There is no backend named “{name}”.", f"Known: {', '.join(known)}.", status=404
    )


def not_running(title: str, hint: str) -> AppError:
    return AppError(NOT_RUNNING, f"{title} is not running.", hint, status=409)


def nothing_loaded(name: str | None) -> AppError:
    return AppError(
        "not_loaded",
        f"“{name}” is not loaded." if name else "No model is loaded.",
        "There is nothing to unload.",
        status=409,
    )


def not_loading(name: str | None) -> AppError:
    what = f"“{name}” is not being loaded." if name else "Nothing is being loaded."
    return AppError("not_loading", what, "There is nothing to cancel.", status=409)


def ready_already(name: str) -> AppError:
    return AppError(
        "not_loading",
        f"“{name}” was ready before its load could be cancelled.",
        "Unload it if you do not need it.",
        status=409,
    )


def _requests(count: int) -> str:
    return "request" if count == 1 else "requests"


def _size(size: int | None) -> str:
    return "" if size is None else f", {size / GIB:.1f} GiB"
