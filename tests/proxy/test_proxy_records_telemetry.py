"""Spans of requests as a collector gets them, and what is told when it does not."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from request_records import answered, begin

from quarterdeck.errors import AppError
from quarterdeck.proxy.records import telemetry as module
from quarterdeck.proxy.records.log import Keeping, RequestLog
from quarterdeck.proxy.records.telemetry import Telemetry
from quarterdeck.schemas.requests import Operation
from quarterdeck.settings import Settings


class Collector:
    """Takes spans over HTTP, or refuses them with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.spans: list[Any] = []
        self.paths: list[str] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        if self.status == 200:
            told = ExportTraceServiceRequest.FromString(await request.read())
            self.spans += [span for each in told.resource_spans for scope in each.scope_spans for span in scope.spans]
        return web.Response(status=self.status)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/{path:.*}", collector.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.problems: list[AppError | None] = []
        self.telemetry = Telemetry(settings=lambda: self.settings, problem=self.problems.append)
        self.log = RequestLog(
            lambda _view: None,
            sinks=[self.telemetry.add],
            keeping=lambda: Keeping(prompts=self.settings.log_prompts),
        )


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


async def test_a_request_is_a_span(collector: Collector) -> None:
    bench = Bench(telemetry_endpoint=collector.url + "/")
    record = answered(bench.log, key="laptop")
    await bench.telemetry.close()
    [span] = collector.spans
    assert collector.paths == ["/v1/traces"]
    assert bench.problems == [None]
    assert (span.name, span.trace_id.hex()) == ("chat small", record.id)
    assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6 == pytest.approx(record.total_ms, abs=0.01)
    found = attributes(span)
    assert (found["gen_ai.operation.name"], found["gen_ai.provider.name"]) == ("chat", "embedded")
    assert (found["gen_ai.request.model"], found["gen_ai.response.model"]) == ("small", "small")
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (37, 24)
    assert (found["http.response.status_code"], found["quarterdeck.key"]) == (200, "laptop")
    assert "error.type" not in found


@pytest.mark.parametrize("log_prompts", [False, True])
async def test_texts_are_sent_only_when_somebody_wants_them(collector: Collector, log_prompts: bool) -> None:
    bench = Bench(telemetry_endpoint=collector.url, log_prompts=log_prompts)
    record = begin(bench.log, operation=Operation.COMPLETION)
    record.original(b"my secret")
    record.answer(b"my answer")
    record.failed(400, "The engine answered 400: “my secret” is too long.")
    record.finish(client_left=False)
    await bench.telemetry.close()
    [span] = collector.spans
    assert (span.name, span.status.code, span.status.message) == ("text_completion", 2, "")
    found = attributes(span)
    assert found["error.type"] == "upstream_error"
    assert found.get("quarterdeck.request.body") == ("my secret" if log_prompts else None)
    assert found.get("quarterdeck.response.body") == ("my answer" if log_prompts else None)
    assert ("my secret" in str(span)) is log_prompts


async def test_nothing_is_sent_without_an_address(collector: Collector) -> None:
    bench = Bench()
    answered(bench.log)
    await bench.telemetry.close()
    assert (collector.paths, bench.problems) == ([], [])


async def test_a_collector_that_refuses_is_a_problem_until_it_does_not(collector: Collector) -> None:
    bench = Bench(telemetry_endpoint=collector.url)
    collector.status = 400
    answered(bench.log)
    await bench.telemetry._batches.close()
    collector.status = 200
    answered(bench.log)
    await bench.telemetry.close()
    first, second = bench.problems
    assert first is not None
    assert (first.code, second) == ("telemetry_failed", None)
    assert collector.url in first.sentence
    assert len(collector.spans) == 1


async def test_a_collector_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPORT_SECONDS", 0.2)
    bench = Bench(telemetry_endpoint="http://127.0.0.1:9")
    answered(bench.log)
    await bench.telemetry.close()
    [problem] = bench.problems
    assert problem is not None


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    bench = Bench(telemetry_endpoint="http://127.0.0.1:9")
    answered(bench.log)
    await bench.telemetry.close()
    [problem] = bench.problems
    assert problem is not None
    assert "quarterdeck[telemetry]" in problem.hint
