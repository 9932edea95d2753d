"""Requests that carry sound or pictures: the model in a form with a file, and the engines that take such requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import Operation

FORM = "multipart/form-data"
LONGEST_NAME = 1024
BLANKS = " \t\r\n"
"""What may surround the model in a form."""
_PART_HEADERS = 8 * 1024
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data\s*(;[^\r\n]*)$", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';\s*([\w*!#$%&+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)')

_GATEWAYS = frozenset({BackendKind.LITELLM, BackendKind.OPENAI_COMPATIBLE})
_ABLE = {
    Operation.SPEECH: _GATEWAYS,
    Operation.IMAGES: _GATEWAYS,
    Operation.TRANSCRIPTION: _GATEWAYS | {BackendKind.VLLM, BackendKind.LLAMA_SERVER},
}
_TITLES = {
    Operation.SPEECH: "speak",
    Operation.IMAGES: "make pictures",
    Operation.TRANSCRIPTION: "write down what is spoken",
}


def check_media(view: ModelView, operation: Operation) -> None:
    """Raises AppError `not_supported` (501) for an operation with sound or pictures that the engine does not have."""
    able = _ABLE.get(operation)
    if able is not None and view.backend not in able:
        raise AppError(
            "not_supported",
            f"“{view.name}” cannot {_TITLES[operation]}: its engine ({view.backend}) has no such interface.",
            f"Ask a model at one of: {', '.join(sorted(able))}.",
            status=501,
        )


class _Part(NamedTuple):
    """A part of a form; its value is `body[start:end]`."""

    name: bytes
    is_file: bool
    start: int
    end: int


def read_multipart_model(body: bytes, content_type: str) -> str:
    """The field “model” of a form; files are passed over. Raises AppError (400): no form, or no single such field."""
    part = _model_part(body, content_type)
    try:
        model = body[part.start : part.end].decode().strip(BLANKS)
    except UnicodeDecodeError:
        raise _bad("The field “model” is not valid UTF-8") from None
    if not model:
        raise _model_required()
    return model


def replace_multipart_model(body: bytes, content_type: str, model: str) -> bytes:
    """The form with another model; everything else stays as it was. Raises AppError as `read_multipart_model`."""
    part = _model_part(body, content_type)
    if "\r" in model or "\n" in model:
        raise _bad("The name of the model has a line break")
    return b"".join((body[: part.start], model.encode(), body[part.end :]))


def _model_part(body: bytes, content_type: str) -> _Part:
    found = [part for part in _parts(body, _boundary(content_type)) if part.name == b"model"]
    if not found:
        raise _model_required()
    # Two could be read as one by us and as the other by the engine.
    if len(found) > 1 or found[0].is_file or found[0].end - found[0].start > LONGEST_NAME:
        raise _bad("The field “model” must be there once, as a short text")
    return found[0]


def _boundary(content_type: str) -> bytes:
    match = _BOUNDARY.search(content_type)
    if match is None or content_type.partition(";")[0].strip().lower() != FORM:
        raise _bad("The request is no form with a file", f"Send it as {FORM}, with a boundary.")
    return (match[1] or match[2]).encode()


def _parts(body: bytes, boundary: bytes) -> Iterator[_Part]:
    """The parts in their order. The text between two boundaries is searched, never copied."""
    fence = b"\r\n--" + boundary
    first = fence[2:]
    at = 0 if body.startswith(first) else body.find(fence) + 2
    if at == 1:
        raise _bad("The form does not begin with its boundary")
    at += len(first)
    while True:
        line = body.find(b"\r\n", at, at + _PART_HEADERS)
        if body.startswith(b"--", at):
            return
        if line < 0 or body[at:line].strip():
            raise _bad("The form is broken after a boundary")
        head = body.find(b"\r\n\r\n", line, line + _PART_HEADERS)
        end = body.find(fence, head + 2) if head >= 0 else -1
        if end < 0:
            raise _bad("The form ends before its last boundary")
        yield _part(body[line + 2 : head], head + 4, end)
        at = end + len(fence)


def _part(head: bytes, start: int, end: int) -> _Part:
    disposition = _DISPOSITION.findall(head.replace(b"\r\n", b"\n"))
    parameters: dict[bytes, bytes] = {}
    for key, value in _PARAMETER.findall(disposition[0]) if len(disposition) == 1 else ():
        if key.lower() in parameters:
            raise _bad("A part of the form has two names")
        parameters[key.lower()] = value
    name = parameters.get(b"name")
    # RFC 7578 forbids the other spelling of names, and engines do not agree on it.
    if name is None or b"name*" in parameters:
        raise _bad("A part of the form has no plain name")
    is_file = b"filename" in parameters or b"filename*" in parameters
    return _Part(re.sub(rb"\\(.)", rb"\1", name[1:-1]) if name.startswith(b'"') else name, is_file, start, end)


def _bad(sentence: str, hint: str = "") -> AppError:
    return AppError("invalid_form", f"{sentence}.", hint)


def _model_required() -> AppError:
    return AppError("model_required", "The form has no field “model”.", "Name a model that GET /v1/models lists.")
