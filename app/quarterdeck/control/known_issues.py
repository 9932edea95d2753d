"""`/api/known-issues`: what is known not to get on, searched, and a person's own entries in and out as Markdown."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from quarterdeck.control.strict import StrictRoute
from quarterdeck.diagnosis.known_issues.catalogue import MOST_TEXT, KnownIssues, page_too_long
from quarterdeck.errors import AppError
from quarterdeck.schemas.known_issues import ImportedIssues, KnownIssue

MARKDOWN = "text/markdown; charset=utf-8"
PAGE = {"schema": {"type": "string", "minLength": 1}}
_MOST_BYTES_OF_A_CHARACTER = 4

Words = Annotated[str, Query(max_length=500, description="Words that an entry must hold; empty for all entries.")]
Own = Annotated[bool, Query(description="Only the person's own entries.")]


def router(known: KnownIssues) -> APIRouter:
    """Routes of the catalogue."""
    routes = APIRouter(prefix="/api/known-issues", tags=["diagnosis"], route_class=StrictRoute)

    @routes.get("")
    async def known_issues(q: Words = "") -> list[KnownIssue]:
        """The entries that hold every word, the person's own and those named so first."""
        return await asyncio.to_thread(known.search, q)

    @routes.post("/import", openapi_extra={"requestBody": {"required": True, "content": {"text/markdown": PAGE}}})
    async def import_known_issues(request: Request) -> ImportedIssues:
        """Take over the entries of a page in Markdown. What cannot be read is told with its line, and not taken."""
        return await asyncio.to_thread(known.add, _text(await _body(request)))

    @routes.get("/export", response_class=Response, responses={200: {"content": {"text/markdown": {}}}})
    async def export_known_issues(own: Own = True) -> Response:
        """Entries as a page that can be imported again."""
        page = await asyncio.to_thread(lambda: known.export(own=own))
        disposition = 'attachment; filename="known-issues.md"'
        return Response(page, media_type=MARKDOWN, headers={"content-disposition": disposition})

    @routes.delete("/{id}", status_code=204)
    async def remove_known_issue(id: str) -> Response:
        """Forget an entry of the person's; a built-in one of the same id shows again."""
        await asyncio.to_thread(known.remove, id)
        return Response(status_code=204)

    return routes


async def _body(request: Request) -> bytes:
    """The body, which is refused as soon as it is too long."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_TEXT * _MOST_BYTES_OF_A_CHARACTER:
            raise page_too_long()
    if not body:
        raise AppError("no_page", "There is no page to import.", "Send the page in Markdown as the body.")
    return bytes(body)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise AppError(
            "not_utf8",
            f"The page is not a text in UTF-8: line {line} holds other bytes.",
            "Save it as UTF-8 and import it again.",
            details={"line": line},
        ) from None
