"""Answers “why is this model not listed?”."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.registry.following import Followed
from quarterdeck.registry.names import fold
from quarterdeck.registry.views import TESTING_ROLE, Views
from quarterdeck.schemas.discovery import Absence, PassedOver

if TYPE_CHECKING:
    from quarterdeck.storage.tables import Model


def explain(models: Sequence[Model], views: Views, followed: Mapping[str, Followed]) -> list[Absence]:
    """The models that clients do not see, and those that they see under another name than their source gives them."""
    dropped = {fold(name): path for path, each in followed.items() for name in each.gone}
    found = []
    for row in models:
        reasons = views.reasons(row)
        hidden = bool(reasons)
        if hidden and (path := dropped.get(fold(row.name))):
            reasons.append(f"The followed file “{Path(path).name}” no longer has it.")
        theirs = str(row.discovered.get("id") or row.name)
        if fold(theirs) != fold(row.name) and row.name.startswith(f"{row.backend}/"):
            reasons.append(f"Another model already had the name “{theirs}”, so this one is called “{row.name}”.")
        if reasons:
            found.append(Absence(name=row.name, listed=not hidden, reasons=reasons, hint=_hint(row, hidden)))
    return found


def passed_over(each: PassedOver) -> Absence:
    return Absence(name=each.where, listed=False, reasons=[each.reason], hint=each.hint)


def _hint(row: Model, hidden: bool) -> str:
    if not hidden:
        return f"Use the name “{row.name}”, or give it another name."
    if row.deprecated:
        return "Take the mark off in the model's settings to offer it again."
    if TESTING_ROLE in row.roles:
        return "Take the role “testing” from it."
    return "Put the file back, or pull the model again. A setting offers models that are not installed all the same."
