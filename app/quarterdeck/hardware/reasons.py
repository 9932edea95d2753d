"""The sentences that tell a person why NVIDIA values are missing and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from quarterdeck.hardware.surroundings import Surroundings
from quarterdeck.schemas.hardware import NvmlState, NvmlStatus

ASLEEP = "The graphics card is asleep to save power."
LOST = "The graphics card stopped answering its driver."
NEEDS_RESET = "The graphics card needs a reset before it can be used again."
NOT_ANSWERING = "The NVIDIA driver does not answer."
NOT_MEASURED = "Not measured while nobody is watching."
IMPLAUSIBLE = "The driver gave a value that cannot be right."
SHARED_MEMORY = "This graphics card uses the memory of the computer."
AMD_NO_VALUE = "The driver of the graphics card gives no value for it."
DIVIDED = "A graphics card that is divided with MIG does not report it."
NOT_PER_PROCESS = "The driver lists the programs, but not how much memory each of them holds."
WSL_PROCESSES = "In WSL the driver does not say which programs hold the memory of the graphics card."
OTHER_USERS = "Programs of other users are not listed: only they may see how much memory those hold."

_GIB = 1024**3
_RESTART = "Restart the computer."
_RESTART_WSL = "Run “wsl --shutdown” in Windows, then start again."
_SENTENCES: dict[NvmlState, tuple[str, str]] = {
    NvmlState.STARTING: ("Looking for NVIDIA graphics cards.", ""),
    NvmlState.OK: ("", ""),
    NvmlState.DISABLED: (
        "Reading NVIDIA graphics cards is switched off in the settings.",
        "Switch on “Read NVIDIA GPUs” in the settings to see them.",
    ),
    NvmlState.DRIVER_NOT_LOADED: (
        "The NVIDIA driver is installed but not running.",
        f"{_RESTART} If that does not help, install the driver again: a system update may have left it behind.",
    ),
    NvmlState.VERSION_MISMATCH: (
        "The NVIDIA driver was updated, but the earlier version is still running.",
        _RESTART,
    ),
    NvmlState.NO_PERMISSION: (
        "This user may not read the NVIDIA graphics card.",
        "Ask for access to /dev/nvidiactl (often the group “video” or “render”), then log in again.",
    ),
    NvmlState.NO_GPU: (
        "The NVIDIA driver is running but finds no graphics card.",
        "Check that the card is seated and powered, or that this container or virtual machine was given one.",
    ),
    NvmlState.GPU_LOST: (
        LOST,
        "Quarterdeck keeps trying. If the card does not come back, restart the computer; if it happens again, "
        "check its power and temperature.",
    ),
    NvmlState.NOT_RESPONDING: (
        NOT_ANSWERING,
        f"The values return by themselves when it answers again. If they do not: {_RESTART}",
    ),
    NvmlState.FAILED: ("The NVIDIA driver reports an error.", f"{_RESTART} If that does not help, update the driver."),
}
_WSL_HINTS: dict[NvmlState, str] = {
    NvmlState.DRIVER_NOT_LOADED: f"Install or update the NVIDIA driver in Windows. {_RESTART_WSL}",
    NvmlState.VERSION_MISMATCH: _RESTART_WSL,
    NvmlState.NO_GPU: f"{_RESTART_WSL} If that does not help, update the NVIDIA driver in Windows.",
    NvmlState.NOT_RESPONDING: _RESTART_WSL,
    NvmlState.GPU_LOST: f"Quarterdeck keeps trying. If the card does not come back: {_RESTART_WSL}",
    NvmlState.FAILED: f"{_RESTART_WSL} If that does not help, update the NVIDIA driver in Windows.",
}


def explain(
    state: NvmlState,
    surroundings: Surroundings,
    *,
    detail: str = "",
    subject: str = "",
    driver_version: str | None = None,
) -> NvmlStatus:
    """The status for `state`; `detail` is a sentence of its own to add, `subject` names the card it is about."""
    reason, hint = _library_missing(surroundings) if state is NvmlState.LIBRARY_NOT_FOUND else _SENTENCES[state]
    if surroundings.is_wsl():
        hint = _WSL_HINTS.get(state, hint)
    if subject:
        reason = reason.replace("The graphics card", subject, 1)
    if detail:
        reason = f"{reason} {detail}".strip()
    return NvmlStatus(state=state, reason=reason, hint=hint, driver_version=driver_version)


def asleep() -> NvmlStatus:
    """The status while every NVIDIA card of this computer is suspended."""
    return NvmlStatus(state=NvmlState.NO_GPU, reason=ASLEEP, hint="Its values appear as soon as a program uses it.")


def divided(name: str, sizes: Sequence[int]) -> str:
    """What to know about a card that is divided with MIG into instances of these sizes in bytes."""
    if not sizes:
        return f"{name} is divided with MIG, but this user can see no instance of it."
    counted = Counter(f"{size / _GIB:.1f} GiB" for size in sizes)
    parts = ", ".join(f"{count} × {size}" if count > 1 else size for size, count in counted.items())
    count = "one MIG instance" if len(sizes) == 1 else f"{len(sizes)} MIG instances"
    return f"{name} is divided into {count} ({parts}). A program sees only the instance it was given."


def _library_missing(surroundings: Surroundings) -> tuple[str, str]:
    if surroundings.has_wsl_library():
        return (
            "Windows shares its NVIDIA driver with WSL, but this system does not find it.",
            f"Run “sudo ldconfig /usr/lib/wsl/lib”. If that does not help: {_RESTART_WSL}",
        )
    if surroundings.is_wsl():
        return (
            "No NVIDIA driver is visible in WSL.",
            f"Install or update the NVIDIA driver in Windows. {_RESTART_WSL}",
        )
    if surroundings.cards():
        return (
            "This computer has an NVIDIA graphics card, but its driver is not installed.",
            "Install the NVIDIA driver, then restart the computer. In a container, start it with access to the GPUs.",
        )
    return (
        "No NVIDIA graphics card was found in this computer.",
        "Models run on the processor. If there is a card, install the NVIDIA driver.",
    )
