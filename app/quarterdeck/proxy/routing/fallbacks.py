"""Which failures another model may make good, and in which way it has to be another one."""

from __future__ import annotations

import re
from enum import StrEnum

from quarterdeck.errors import AppError


class FallbackClass(StrEnum):
    """Why another model is asked. Each class has models of its own, see FallbackRule."""

    ERROR = "error"
    CONTEXT_WINDOW = "context_window"
    CONTENT = "content"


# Of ours; each says that this model cannot answer now, whatever the status says of the request.
_PASSES = frozenset({"incompatible", "not_loaded", "load_cancelled", "held_by_other", "file_missing", "model_busy"})
# Of ours too; these say the same for every model, or there is nobody left to answer.
_FINAL = frozenset({"rate_limited", "client_left", "closing", "body_too_large", "database_closed"})

_LONGEST_TEXT = 4000
_NOT_IMPLEMENTED = 501
_TRANSIENT = (408, 425, 429)

_CONTEXT = re.compile(
    r"context[ _-]?(?:length|window|size)|maximum context|exceed_context|max_model_len|prompt is too long"
    r"|input is too long|too many (?:input )?tokens|(?:prompt|input) (?:exceeds|is longer than)"
    r"|exceeds the (?:maximum|limit).{0,40}tokens",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    r"content[ _-]?(?:filter|policy|management)|responsible ?ai|policy[ _]violation|safety (?:system|filter|settings)"
    r"|flagged (?:as|by|for)|moderation",
    re.IGNORECASE,
)
_NO_SUCH_MODEL = re.compile(
    r"model\b.{0,300}?(?:not found|does not exist|not exist|no longer)|no such model", re.IGNORECASE
)


def classify(error: AppError) -> FallbackClass | None:
    """The class of a failure that came before the first token; None for one that is the same at every model.

    A request that is wrong in itself (most of 4xx) stays wrong, so it is never sent again.
    """
    if error.code in _FINAL:
        return None
    if error.code == "capability_mismatch":
        return FallbackClass.CONTEXT_WINDOW if error.details.get("missing") == ["context"] else None
    if error.code in _PASSES:
        return FallbackClass.ERROR
    # A backend may tell the reason by a code only.
    codes = (error.details.get("upstream_code"), error.details.get("upstream_type"))
    return _of(error.status, f"{error.sentence[:_LONGEST_TEXT]} {codes}")


def _of(status: int, said: str) -> FallbackClass | None:
    if status != 429 and _CONTEXT.search(said):
        return FallbackClass.CONTEXT_WINDOW
    if status < 500 and _CONTENT.search(said):
        return FallbackClass.CONTENT
    if status in _TRANSIENT or (status >= 500 and status != _NOT_IMPLEMENTED):
        return FallbackClass.ERROR
    if status == 424 or (status == 404 and _NO_SUCH_MODEL.search(said)):
        return FallbackClass.ERROR
    return None
