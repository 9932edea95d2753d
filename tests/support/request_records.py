"""Requests as the proxy would record them, for tests of what becomes of records."""

from __future__ import annotations

from typing import Any

from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.schemas.requests import Operation

ANSWER = (
    b'{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"Hello!"}}],'
    b'"usage":{"completion_tokens":24,"prompt_tokens":37,"total_tokens":61},'
    b'"timings":{"predicted_n":24,"predicted_per_second":1.5}}'
)


def begin(log: RequestLog, **fields: Any) -> RequestRecord:
    """A request that has just come in."""
    given: dict[str, Any] = {
        "path": "/v1/chat/completions", "dialect": "openai", "operation": Operation.CHAT, "asked": "small",
        "stream": False, "key": None, "client": "127.0.0.1",
    }  # fmt: skip
    return RequestRecord(log, **given | fields)


def answered(
    log: RequestLog, *, model: str = "small", backend: str = "embedded", status: int = 200, **fields: Any
) -> RequestRecord:
    """A request that was answered, or refused when `status` says so."""
    record = begin(log, asked=model, **fields)
    record.routed(model, backend, "exact")
    record.sent()
    record.status = status
    if status < 400:
        record.saw(ANSWER)
    else:
        record.failed(status, f"The engine answered {status}.")
    record.finish(client_left=False)
    return record
