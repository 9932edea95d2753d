"""One error, rendered in the dialect of the path it answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.openai import openai_error, retry_after
from quarterdeck.proxy.json_answer import JsonAnswer
from quarterdeck.proxy.ollama_routes import BLOBS, OLLAMA_PATHS
from quarterdeck.proxy.routes import DIALECTS

_log = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SHOWN_OF_PATH = 200
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
_HINTS = {404: "See /openapi.json for what there is.", 405: "Use another HTTP method; see /openapi.json."}


def render(path: str, error: AppError) -> Response:
    """In the words of those who call the path: OpenAI's, Ollama's or Anthropic's clients, or ours."""
    if path in DIALECTS:
        body = DIALECTS[path].error(error)
    elif path in OLLAMA_PATHS or path.startswith(BLOBS):
        body = DIALECTS["/api/chat"].error(error)
    elif path.startswith("/v1"):
        body = openai_error(error)
    else:
        body = error.as_dict()
    return JsonAnswer(body, status_code=error.status, headers=retry_after(error))


def install(app: FastAPI) -> None:
    """Answer every error of `app` in our form."""
    app.add_exception_handler(AppError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _unusable)
    app.add_exception_handler(Exception, _defect)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    return render(request.url.path, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    if first["type"] == "json_invalid":
        message = f"The body is not valid JSON: {first['ctx']['error']} at character {first['loc'][-1]}."
    else:
        message = f"{place}: {first['msg']}."
    return render(request.url.path, AppError("bad_request", message, "See /openapi.json for the fields."))


async def _unusable(request: Request, error: Exception) -> Response:
    """A path in a request that cannot even be looked at: too long, or in a folder that is closed to us."""
    if not isinstance(error, OSError) or error.filename is None:
        return await _defect(request, error)
    _log.warning("%s %s: %s", request.method, request.url.path, error.strerror)
    sentence = f"“{str(error.filename)[:_SHOWN_OF_PATH]}” cannot be used: {error.strerror}."
    return render(request.url.path, AppError("bad_path", sentence, "Check the path, and who may read it."))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = AppError(
        _CODES.get(error.status_code, "http_error"),
        f"{request.method} {request.url.path}: {error.detail}.",
        _HINTS.get(error.status_code, ""),
        status=error.status_code,
    )
    answer = render(request.url.path, known)
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        answer.headers["allow"] = ", ".join(_allowed(request))
    return answer


def _allowed(request: Request) -> list[str]:
    """The methods that the path has; the framework names only those of the first route that it finds."""
    routes: Sequence[BaseRoute] = request.app.routes
    asked = [{**request.scope, "method": method} for method in _METHODS]
    return [each["method"] for each in asked if any(route.matches(each)[0] is Match.FULL for route in routes)]


async def _defect(request: Request, error: Exception) -> Response:
    """A defect of ours; uvicorn writes its traceback to the console, this writes it to our log."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    known = AppError(
        "internal_error",
        f"Quarterdeck made a mistake while answering ({type(error).__name__}).",
        "Its own log says more; please report it.",
        status=500,
    )
    answer = render(request.url.path, known)
    # The server drops the connection after a defect; a client that knows does not use it again.
    answer.headers["connection"] = "close"
    return answer
