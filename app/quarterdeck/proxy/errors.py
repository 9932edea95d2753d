"""Errors as OpenAI clients expect them."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import JSONResponse

from quarterdeck.errors import AppError

# Our codes that have a name of their own among OpenAI's.
_CODES = {"unknown_model": "model_not_found", "unauthorized": "invalid_api_key"}


def openai_error(error: AppError) -> dict[str, Any]:
    """The OpenAI error object; `hint` and our details ride along, clients ignore what they do not know."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "error": {
            "message": f"{error.sentence} {error.hint}".strip(),
            "type": kind,
            "param": "model" if error.code == "unknown_model" else None,
            "code": _CODES.get(error.code, error.code),
            "hint": error.hint,
            **error.details,
        }
    }


def error_response(error: AppError) -> JSONResponse:
    return JSONResponse(openai_error(error), status_code=error.status, headers=retry_after(error))


def retry_after(error: AppError) -> dict[str, str]:
    """The header that tells clients when to come back, for errors that pass."""
    seconds = error.details.get("retry_after")
    return {"Retry-After": str(math.ceil(seconds))} if isinstance(seconds, int | float) else {}


def error_event(error: AppError) -> bytes:
    """The error as the last event of a stream whose status line is already gone, and the end of the stream."""
    return b"data: " + json.dumps(openai_error(error)).encode() + b"\n\ndata: [DONE]\n\n"
