"""Requests as spans of OpenTelemetry, with the attributes of its conventions for generative models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quarterdeck import __version__
from quarterdeck.errors import AppError
from quarterdeck.proxy.records.batches import Batches
from quarterdeck.proxy.records.capture import Texts
from quarterdeck.proxy.records.record import UPSTREAM_ERROR, RequestRecord
from quarterdeck.schemas.requests import Operation
from quarterdeck.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan

FAILED = "telemetry_failed"
SEND_SECONDS = 2.0
MOST_WAITING = 5_000
EXPORT_SECONDS = 5.0
_OPERATIONS = {Operation.COMPLETION: "text_completion"}
_NANOSECONDS = 1_000_000_000

Waiting = tuple[RequestRecord, Texts | None]


class Telemetry:
    """Sends finished requests to `settings().telemetry_endpoint`; an empty one sends nothing. Core loop only.

    The trace id of a request is its own id. `problem` hears of an AppError when spans cannot be sent, and of None when
    they can be again.
    """

    def __init__(self, *, settings: Callable[[], Settings], problem: Callable[[AppError | None], None]) -> None:
        self._settings = settings
        self._batches: Batches[Waiting] = Batches(
            self._send, done=problem, name="telemetry", seconds=SEND_SECONDS, most=MOST_WAITING
        )
        self._exporter: OTLPSpanExporter | None = None
        self._endpoint = ""

    def add(self, record: RequestRecord) -> None:
        """Send a finished request soon."""
        if self._settings().telemetry_endpoint:
            self._batches.add((record, record.texts if self._settings().log_prompts else None))

    async def close(self) -> None:
        """Send what waits; a collector that does not answer costs EXPORT_SECONDS."""
        await self._batches.close()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.shutdown)

    def _send(self, batch: list[Waiting]) -> None:
        """On a thread. Raises AppError."""
        endpoint = self._settings().telemetry_endpoint
        if not endpoint:
            return
        if endpoint != self._endpoint or self._exporter is None:
            self._exporter, self._endpoint = _exporter(endpoint), endpoint
        from opentelemetry.sdk.trace.export import SpanExportResult

        if self._exporter.export([_span(record, texts) for record, texts in batch]) is not SpanExportResult.SUCCESS:
            raise AppError(
                FAILED,
                f"The OpenTelemetry collector at {endpoint} does not take what is sent.",
                "Check that it runs and accepts OTLP over HTTP, or empty the setting “OpenTelemetry address”.",
                status=502,
            )


def _exporter(endpoint: str) -> OTLPSpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise AppError(
            FAILED,
            "OpenTelemetry is not installed, so nothing is sent.",
            "Install the extra “telemetry” (pip install 'quarterdeck[telemetry]'), or empty “OpenTelemetry address”.",
            status=501,
        ) from None
    # What goes wrong is told as an issue, once, and not with every batch.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    base = endpoint.rstrip("/").removesuffix("/v1/traces")
    return OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=EXPORT_SECONDS)


def _span(record: RequestRecord, texts: Texts | None) -> ReadableSpan:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    operation = _OPERATIONS.get(record.operation, record.operation.value)
    begin = int(record.at * _NANOSECONDS)
    is_error = record.status >= 400
    return ReadableSpan(
        name=f"{operation} {record.model}".rstrip(),
        context=SpanContext(
            int(record.id, 16), int(record.id[:16], 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        ),
        resource=Resource({"service.name": "quarterdeck", "service.version": __version__}),
        attributes=_attributes(record, operation) | _texts(texts),
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR, _told(record)) if is_error else Status(StatusCode.UNSET),
        start_time=begin,
        end_time=begin + int(record.total_ms * 1_000_000),
    )


def _told(record: RequestRecord) -> str | None:
    """Our own words only: those of a backend may quote the prompt."""
    return record.error if record.code != UPSTREAM_ERROR else None


def _attributes(record: RequestRecord, operation: str) -> dict[str, Any]:
    known: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": record.backend,
        "gen_ai.request.model": record.asked,
        "gen_ai.response.model": record.model,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "http.request.method": "POST",
        "http.response.status_code": record.status,
        "url.path": record.path,
        "error.type": (record.code or str(record.status)) if record.status >= 400 else None,
        "quarterdeck.route": record.route,
        "quarterdeck.dialect": record.dialect,
        "quarterdeck.stream": record.stream,
        "quarterdeck.key": record.key,
        "quarterdeck.waited_ms": record.waited_ms,
        "quarterdeck.first_token_ms": record.first_token_ms,
        "quarterdeck.tokens_per_second": record.tokens_per_second,
        "quarterdeck.dropped": record.dropped,
        "quarterdeck.applied": record.applied,
        "quarterdeck.tried": record.tried,
    }
    return {name: value for name, value in known.items() if value not in (None, "", [])}


def _texts(texts: Texts | None) -> dict[str, Any]:
    if texts is None:
        return {}
    shown = {"quarterdeck.request.body": texts.original.shown(), "quarterdeck.response.body": texts.answer.shown()}
    return {name: text.text for name, text in shown.items() if text is not None}
