"""Passes the answer of a backend on to its client: byte for byte where both speak alike, else chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from quarterdeck.errors import AppError
from quarterdeck.proxy.client import Header
from quarterdeck.proxy.dialects.base import Dialect, Fields
from quarterdeck.proxy.dialects.openai import DONE
from quarterdeck.proxy.failures import BackendFailed, bad_answer
from quarterdeck.proxy.mitigations import Mitigated
from quarterdeck.proxy.outlet import NO_BUFFER, Outlet
from quarterdeck.proxy.questions import Sent
from quarterdeck.proxy.sending import Answer, Patience, passed_on
from quarterdeck.proxy.upstreams.errors import error_within, masked, upstream_error
from quarterdeck.proxy.upstreams.lines import WholeLines
from quarterdeck.proxy.wire import Broken
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import Operation

ANSWER_LIMIT = 256 * 1024 * 1024
ERROR_LIMIT = 256 * 1024

READ_WHOLE = 16 * 1024
"""An answer of up to so many bytes is read as JSON before it is passed on; of a larger one only its ends are."""

_OPENAI = "openai"
_STREAMS = ("text/event-stream", "application/x-ndjson")
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":", b"error:")
_ERROR = b'"error"'
_BINARY = frozenset({Operation.SPEECH, Operation.TRANSCRIPTION})


class Refused(AppError):  # noqa: N818 - reads as the event it is
    """A backend's own error answer; `body` is what it said, for clients that read its language."""

    def __init__(self, error: AppError, body: bytes) -> None:
        super().__init__(error.code, error.sentence, error.hint, status=error.status, details=error.details)
        self.body = body


@dataclass(slots=True)
class Passage:
    """One answer of the model `view` on its way to `outlet`. `kept` gets sound that is worth keeping."""

    outlet: Outlet
    sent: Sent
    mitigated: Mitigated
    view: ModelView
    kept: Callable[[str, bytes], None] | None

    async def pass_on(self, answer: Answer, patience: Patience) -> None:
        """Nothing is told before it was looked at. Raises Refused, AppError `bad_answer` (502) or wire.Broken."""
        asked = self.mitigated.asked
        if answer.status >= 300:
            raise await self._refusal(answer)
        if asked.operation in _BINARY:
            await self._pump(answer, patience)
        elif not asked.stream:
            await self._whole(answer, patience)
        elif _is_json(answer.content_type):
            await self.outlet.remade(await self._hub_answer(answer, patience))
        elif self.sent.straight:
            await self._stream(answer, patience)
        else:
            await self._converted(answer, patience)

    async def _refusal(self, answer: Answer) -> AppError:
        if answer.status < 400:
            return bad_answer(f"it answered with a redirection ({answer.status})")
        body = await _read(answer, ERROR_LIMIT, None)
        self.outlet.record.upstream(body)
        kind = BackendKind(self.view.backend)
        return Refused(
            upstream_error(answer.status, body, kind, retry_after=answer.header(b"retry-after") or None), body
        )

    async def _pump(self, answer: Answer, patience: Patience) -> None:
        """What is neither JSON nor events, such as sound: as it is."""
        outlet, parts = self.outlet, []
        await outlet.start(answer.status, passed_on(answer.headers))
        async for data in answer.parts():
            patience.heard()
            outlet.record.saw(data)
            if self.kept is not None:
                parts.append(data)
            await outlet.client.send(data)
        if self.kept is not None:
            self.kept(answer.header(b"content-type"), b"".join(parts))
        await outlet.client.end()

    async def _whole(self, answer: Answer, patience: Patience) -> None:
        if not self.sent.straight or self.mitigated.repair is not None:
            await self.outlet.whole(await self._hub_answer(answer, patience))
            return
        body = await self._body(answer, patience)
        if len(body) <= READ_WHOLE:
            self._fields(answer, body)
        elif not _is_object(body):
            raise _not_json(answer, body)
        record = self.outlet.record
        (record.saw if self.sent.upstream.name == _OPENAI else record.saw_ndjson)(body)
        headers = _headers(answer, "application/json", fits=_is_json(answer.content_type))
        await self.outlet.start(answer.status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.outlet.end(body)

    async def _stream(self, answer: Answer, patience: Patience) -> None:
        """Events byte for byte, as they arrive."""
        record, client = self.outlet.record, self.outlet.client
        events = self.sent.upstream.name == _OPENAI
        saw, line_end = (record.saw, b"\n\n") if events else (record.saw_ndjson, b"\n")
        begun = False
        async for data in self._lines(answer, patience):
            if not begun:
                begun = True
                fits = answer.content_type.startswith(_STREAMS)
                headers = _headers(answer, self.outlet.dialect.stream_type, fits=fits)
                await self.outlet.start(answer.status, [*headers, *NO_BUFFER])
            saw(data)
            client.line_end = b"" if data.endswith(line_end) else line_end
            await client.send(data)
        if not record.stream_ended:
            # Ollama closes a stream in order when its runner has died.
            raise _broken_off()
        if (told := record.told_error) is not None and (error := self._told(told)) is not None:
            record.failed(error.status, error.sentence, error.code)
        await client.end(client.line_end + DONE if events and not record.stream_done else b"")

    async def _lines(self, answer: Answer, patience: Patience) -> AsyncIterator[bytes]:
        """A stream as it comes, in whole lines, so that what breaks off reaches nobody half."""
        record, lines, begun = self.outlet.record, WholeLines(), False
        try:
            async for data in answer.parts():
                patience.heard()
                record.upstream(data)
                whole = lines.feed(data)
                if whole:
                    if not begun:
                        begun = True
                        self._look(answer, whole)
                    yield whole
        except Broken:
            if not record.stream_ended:
                raise
        if lines.is_last_line():
            if not begun:
                self._look(answer, lines.rest)
            yield lines.rest
        elif not begun:
            raise _no_stream(answer, lines.rest)

    def _look(self, answer: Answer, first: bytes) -> None:
        """Look at the first lines of a stream. Raises Refused for an error, `bad_answer` for what is no stream."""
        end, beginnings = (b"\n\n", _BEGINNINGS) if self.sent.upstream.name == _OPENAI else (b"\n", b"{")
        event = first.partition(end)[0]
        if _ERROR in event:
            for line in event.splitlines():
                if (error := self._told(line)) is not None:
                    raise error
        if not answer.content_type.startswith(_STREAMS) and not first.lstrip().startswith(beginnings):
            raise _no_stream(answer, first)

    def _told(self, line: bytes) -> AppError | None:
        """The error of which a line of a stream tells, if it does."""
        text = line.strip().removeprefix(b"data:").removeprefix(b"error:").strip()
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return None
        error = error_within(fields, BackendKind(self.view.backend)) if isinstance(fields, dict) else None
        return Refused(error, text) if error is not None else None

    async def _converted(self, answer: Answer, patience: Patience) -> None:
        reader, repair = self.sent.upstream.reader(self.mitigated.asked), self.mitigated.repair_chunk
        async for data in self._lines(answer, patience):
            for chunk in reader.feed(data):
                await self.outlet.chunk(chunk if repair is None else repair(chunk))
        if not reader.ended:
            raise _broken_off()
        await self.outlet.finish()

    async def _hub_answer(self, answer: Answer, patience: Patience) -> Fields:
        fields = self._fields(answer, await self._body(answer, patience))
        hub = self.sent.upstream.answer(self.mitigated.asked, fields)
        return hub if self.mitigated.repair is None else self.mitigated.repair(hub)

    def _fields(self, answer: Answer, body: bytes) -> Fields:
        """The answer as JSON. Raises AppError where it is none, or tells of an error under status 200."""
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            raise _not_json(answer, body) from None
        if not isinstance(fields, dict):
            raise _not_json(answer, body)
        if error := error_within(fields, BackendKind(self.view.backend)):
            raise Refused(error, body)
        return fields

    async def _body(self, answer: Answer, patience: Patience) -> bytes:
        body = await _read(answer, ANSWER_LIMIT, patience)
        self.outlet.record.upstream(body)
        try:
            body.decode()
        except UnicodeDecodeError:
            return body.decode("utf-8", "replace").encode()
        return body


async def _read(answer: Answer, limit: int, patience: Patience | None) -> bytes:
    """The body, as far as `limit` goes. Raises AppError `bad_answer` above it."""
    parts, size = [], 0
    async for data in answer.parts():
        if patience is not None:
            patience.heard()
        parts.append(data)
        size += len(data)
        if size > limit:
            raise bad_answer(f"it is larger than {limit // 1024 // 1024} MiB")
    return b"".join(parts)


def is_fault(error: AppError) -> bool:
    """Whether an error speaks against the backend; one that is only busy, or that refuses a request, is well."""
    return isinstance(error, BackendFailed) or (isinstance(error, Refused) and error.status in (500, 502, 504))


def own_words(dialect: Dialect, error: AppError) -> bytes | None:
    """What the backend itself said, where its client reads its language and nothing about it was changed."""
    if not isinstance(error, Refused) or dialect.name != _OPENAI or error.details["upstream_status"] != error.status:
        return None
    try:
        said = json.loads(error.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("error"), dict):
        return None
    # Some servers repeat what they were sent, keys too.
    words = error.body.decode("utf-8", "replace")
    return error.body if masked(words) == words else None


def _broken_off() -> Exception:
    return Broken("the stream ended before the answer did")


def _is_object(body: bytes) -> bool:
    return body[:64].lstrip()[:1] == b"{" and body[-64:].rstrip()[-1:] == b"}"


def _headers(answer: Answer, usual_type: str, *, fits: bool) -> list[Header]:
    """The headers of the answer for its client, with the usual type unless the backend's own `fits`."""
    headers = passed_on(answer.headers)
    if fits:
        return headers
    return [*(header for header in headers if header[0] != b"content-type"), (b"content-type", usual_type.encode())]


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")


def _not_json(answer: Answer, body: bytes) -> AppError:
    if not body.strip():
        return bad_answer("it is empty")
    kind = answer.content_type
    return bad_answer("it is not whole" if _is_json(kind) else f"it is no JSON but {kind or 'of no known type'}")


def _no_stream(answer: Answer, body: bytes) -> Exception:
    if not body.strip():
        return bad_answer("it is empty")
    kind = answer.content_type
    return _broken_off() if kind.startswith(_STREAMS) else bad_answer(f"it is no stream but {kind or 'something else'}")
