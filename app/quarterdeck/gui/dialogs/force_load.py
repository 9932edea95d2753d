"""The questions before a load that may not go well."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import Question, answer
from quarterdeck.schemas.models import ModelView, Retest, Status

_CHANGED = {
    Retest.HARDWARE: "The hardware has changed since then, so the result may be different now. ",
    Retest.CONFIG: "Its configuration has changed since then, so the result may be different now. ",
}


class ForceLoadDialog(Question):
    """Asks whether to load a model whose status speaks against it; Cancel is the default."""

    def __init__(self, parent: QWidget | None, model: ModelView) -> None:
        status = model.status
        super().__init__(
            parent,
            title=f"Load {model.name} anyway?" if status is not Status.DEGRADED else f"Load {model.name}?",
            text=_consequences(model),
            detail=model.notes.strip(),
            verb="Load" if status is Status.DEGRADED else "Load anyway",
            danger=status is Status.INCOMPATIBLE,
        )


class DoesNotFitDialog(Question):
    """Asks whether to load a model that the core expects not to fit; Cancel is the default."""

    def __init__(self, parent: QWidget | None, name: str, refused: AppError) -> None:
        super().__init__(
            parent,
            title=f"Load {name} anyway?",
            text=f"{refused.sentence} The engine may run out of memory and end, and other programs that use the GPU "
            "may be disturbed. With “Load with options…” you can look for options that fit.",
            verb="Load anyway",
            danger=True,
        )


async def permission_to_load(parent: QWidget | None, model: ModelView) -> bool | None:
    """Ask where the status calls for it. None: do not load; otherwise the `force` flag to send."""
    if model.status in (Status.UNKNOWN, Status.COMPATIBLE):
        return False
    if not await answer(ForceLoadDialog(parent, model)):
        return None
    return model.status is not Status.DEGRADED


def _consequences(model: ModelView) -> str:
    changed = _CHANGED.get(model.retest, "") if model.retest is not None else ""
    if model.status is Status.INCOMPATIBLE:
        return (
            f"This model is marked incompatible: loading it failed on this computer before. {changed}"
            "Trying again may crash the engine or fill the memory, and other programs that use the GPU may be "
            "disturbed. Quarterdeck itself keeps running and records what happens."
        )
    if model.status is Status.DEGRADED:
        return (
            f"This model is marked degraded: it has worked here before, but failed not long ago. {changed}"
            "The cause may be temporary, such as a GPU that was reset or memory that another program held. "
            "If it fails again, the history tells why."
        )
    return (
        "This model is marked testing: it is being tested at the moment, or a test was interrupted before its result "
        "was known. If the interruption was a crash, loading it may cause the same crash again."
    )
