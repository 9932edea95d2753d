"""Reads the body of a request: JSON in a dialect's words, or a form with a file."""

from __future__ import annotations

import codecs
import json
import math
from itertools import product
from typing import Any, NoReturn

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields
from quarterdeck.proxy.media import FORM, LONGEST_NAME, read_multipart_model
from quarterdeck.schemas.requests import Operation

MARK = codecs.BOM_UTF8
"""Some editors of Windows put it before a text."""
FORM_PATHS = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations"})
# Ollama reads names of fields in any case, so that these would name another model than the one that is checked here.
_OTHER_MODELS = frozenset(map("".join, product(*zip("model", "MODEL", strict=True)))) - {"model"}


def read(dialect: Dialect, path: str, content_type: str, body: bytes) -> tuple[Fields, Asked]:
    """The body as JSON (empty for a form), and what it asks for. Raises AppError (400)."""
    if path in FORM_PATHS:
        if not content_type.lower().startswith(FORM):
            raise AppError(
                "invalid_request", "Sound is sent as a form.", f"Send {FORM} with the fields file and model."
            )
        return {}, Asked(Operation.TRANSCRIPTION, {"model": read_multipart_model(body, content_type)}, stream=False)
    fields = parse(body)
    if not _OTHER_MODELS.isdisjoint(fields):
        raise AppError("invalid_request", "The field “model” is there twice.", "Write it once, in small letters.")
    asked = dialect.read(path, fields)
    if len(asked.model) > LONGEST_NAME:
        raise AppError("invalid_request", "The name of the model is too long.", details={"param": "model"})
    return fields, asked


def parse(body: bytes) -> Fields:
    """The fields of a request. Raises AppError (400) for a body that is no JSON object."""
    try:
        fields = decoded(body)
    except (ValueError, RecursionError) as error:
        raise AppError("invalid_json", f"The body is not valid JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(fields, dict):
        raise AppError("invalid_request", "The body must be a JSON object.", 'Send {"model": …, …}.')
    return fields


def decoded(body: bytes) -> Any:
    """A body as JSON. Raises ValueError or RecursionError.

    What only some programs read is refused, since backends would not all read it alike: other encodings than UTF-8,
    NaN, and numbers that are too large to be any.
    """
    return _DECODER.decode(body.removeprefix(MARK).decode())


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_no_number)
