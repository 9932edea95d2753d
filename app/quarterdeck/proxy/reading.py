"""Reads the body of a request: JSON in a dialect's words, or a form with a file."""

from __future__ import annotations

import json

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields
from quarterdeck.proxy.media import FORM, read_multipart_model
from quarterdeck.schemas.requests import Operation

FORM_PATHS = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations"})


def read(dialect: Dialect, path: str, content_type: str, body: bytes) -> tuple[Fields, Asked]:
    """The body as JSON (empty for a form), and what it asks for. Raises AppError (400)."""
    if path in FORM_PATHS:
        if not content_type.lower().startswith(FORM):
            raise AppError(
                "invalid_request", "Sound is sent as a form.", f"Send {FORM} with the fields file and model."
            )
        return {}, Asked(Operation.TRANSCRIPTION, {"model": read_multipart_model(body, content_type)}, stream=False)
    fields = parse(body)
    return fields, dialect.read(path, fields)


def parse(body: bytes) -> Fields:
    """The fields of a request. Raises AppError (400) for a body that is no JSON object."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AppError("invalid_json", f"The body is not valid JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(fields, dict):
        raise AppError("invalid_request", "The body must be a JSON object.", 'Send {"model": …, …}.')
    return fields
