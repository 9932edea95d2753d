"""The form of a request: one meaning only, whoever reads it, and no larger than allowed."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope, Send

from quarterdeck.errors import AppError

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_TARGET_BYTES = 16 * 1024
MIB = 1024 * 1024


def check_form(scope: Scope) -> int | None:
    """The length of the body in bytes, 0 for none, None for one in chunks that says so at its end.

    The parser refuses most requests that two programs could read differently; this refuses the rest of them. Raises
    AppError `bad_request` (400), `headers_too_large` (431) or `address_too_long` (414).
    """
    raw = scope["headers"]
    length: int | None = 0
    hosts = size = 0
    for name, value in raw:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            length = None
            if value.lower() != b"chunked" or scope["http_version"] == "1.0":
                raise _ambiguous("its Transfer-Encoding is not just “chunked”")
    if len(raw) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise AppError(
            "headers_too_large",
            f"The request has more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES // 1024} KiB of them.",
            "Send fewer or shorter headers.",
            status=431,
        )
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        raise AppError("address_too_long", "The address of the request is too long.", "Use a shorter one.", status=414)
    if hosts > 1:
        raise _ambiguous("it has more than one Host")
    return length


def _ambiguous(reason: str) -> AppError:
    return AppError("bad_request", f"The request is refused because {reason}.", "Correct the client or the proxy.")


def too_large(limit: int) -> AppError:
    """The error for a body of more than `limit` bytes."""
    return AppError(
        "body_too_large",
        f"The request is larger than {limit // MIB} MiB.",
        "Send smaller images or a shorter history, or raise “Largest request” in Settings.",
        status=413,
    )


class CountedBody:
    """Passes a body on until it is larger than `limit` bytes; then the application sees the client leave.

    `exceeded` says so, and what the application answers to that is swallowed, unless its answer had begun.
    """

    def __init__(self, limit: int, receive: Receive, send: Send) -> None:
        self.exceeded = False
        self.answered = False
        self._left = limit
        self._receive, self._send = receive, send

    async def receive(self) -> Message:
        if self.exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.exceeded = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self.exceeded and not self.answered:
            return
        self.answered = True
        await self._send(message)
