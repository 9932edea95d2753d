"""The figures of requests: what Prometheus reads, the summary, and that neither grows without bound."""

from __future__ import annotations

import statistics
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from request_records import answered, begin
from starlette.applications import Starlette

from quarterdeck.proxy.records import routes
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.records.metrics import MOST_LABELS, OTHER, Metrics, State, percentile
from quarterdeck.schemas.hardware import GpuSample
from quarterdeck.schemas.requests import BackendRequests
from quarterdeck.settings import Settings

GIB = 1024**3
LABELS = ("model", "backend", "dialect", "status", "kind", "gpu", "uuid", "name", "le")


class Bench:
    def __init__(self) -> None:
        self.settings = Settings()
        self.state = State()
        self.metrics = Metrics(running=lambda: self.log.running)
        self.log = RequestLog(lambda _view: None, sinks=[self.metrics.add])
        found = routes.routes(self.metrics, self.log, settings=lambda: self.settings, state=self._state)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(Starlette(routes=found)), base_url="http://127.0.0.1"
        )

    async def samples(self) -> dict[tuple[Any, ...], float]:
        """Every sample of /metrics by its name and the values of its labels, in the order of LABELS."""
        answer = (await self.http.get("/metrics")).raise_for_status()
        assert answer.headers["content-type"].startswith("text/plain")
        families = text_string_to_metric_families(answer.text)
        return {
            (sample.name, *(sample.labels[label] for label in LABELS if label in sample.labels)): sample.value
            for family in families
            for sample in family.samples
        }

    async def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get("/v1/metrics")).raise_for_status().json()
        return found

    async def _state(self) -> State:
        return self.state


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_requests_are_counted(bench: Bench) -> None:
    for _ in range(3):
        answered(bench.log)
    answered(bench.log, status=404)
    answered(bench.log, model="big", backend="vllm", dialect="ollama", stream=True)
    running = begin(bench.log)
    samples = await bench.samples()
    assert samples["quarterdeck_requests_total", "small", "embedded", "openai", "200"] == 3
    assert samples["quarterdeck_requests_total", "small", "embedded", "openai", "404"] == 1
    assert samples["quarterdeck_requests_total", "big", "vllm", "ollama", "200"] == 1
    assert samples["quarterdeck_tokens_total", "small", "embedded", "prompt"] == 3 * 37
    assert samples["quarterdeck_tokens_total", "small", "embedded", "completion"] == 3 * 24
    assert samples["quarterdeck_request_duration_seconds_count", "small", "embedded"] == 3
    assert samples["quarterdeck_request_duration_seconds_bucket", "small", "embedded", "+Inf"] == 3
    assert samples["quarterdeck_time_to_first_token_seconds_count", "big", "vllm"] == 1
    assert samples["quarterdeck_tokens_per_second_bucket", "small", "embedded", "2.0"] == 3
    assert samples["quarterdeck_tokens_per_second_bucket", "small", "embedded", "1.0"] == 0
    assert samples["quarterdeck_requests_running",] == 1
    running.finish(client_left=True)
    samples = await bench.samples()
    assert samples["quarterdeck_requests_running",] == 0
    assert samples["quarterdeck_requests_total", "", "", "openai", "499"] == 1


async def test_the_state_is_told(bench: Bench) -> None:
    bench.state = State(
        loaded=[("small", "embedded")],
        queued=2,
        gpus=[GpuSample(index=0, uuid="GPU-1", name="Test", memory_used=3 * GIB, memory_total=24 * GIB)],
    )
    samples = await bench.samples()
    assert samples["quarterdeck_model_loaded", "small", "embedded"] == 1
    assert samples["quarterdeck_load_queue_length",] == 2
    assert samples["quarterdeck_gpu_memory_used_bytes", "0", "GPU-1", "Test"] == 3 * GIB
    assert samples["quarterdeck_gpu_memory_total_bytes", "0", "GPU-1", "Test"] == 24 * GIB
    assert not [name for name, *_ in samples if name == "quarterdeck_gpu_utilization_ratio"]


async def test_a_scraper_can_have_openmetrics(bench: Bench) -> None:
    answered(bench.log)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = await bench.http.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_labels_are_bounded(bench: Bench) -> None:
    for number in range(MOST_LABELS + 50):
        answered(bench.log, model=f"m{number}")
        begin(bench.log, asked=f"nobody knows {number}").finish(client_left=True)
    samples = await bench.samples()
    models = {labels[0] for name, *labels in samples if name == "quarterdeck_requests_total"}
    assert len(models) == MOST_LABELS + 2
    assert samples["quarterdeck_requests_total", OTHER, "embedded", "openai", "200"] == 50
    assert samples["quarterdeck_requests_total", "", "", "openai", "499"] == MOST_LABELS + 50


async def test_the_summary(bench: Bench) -> None:
    for _ in range(2):
        answered(bench.log)
    answered(bench.log, status=500)
    answered(bench.log, model="big", backend="vllm", stream=True)
    begin(bench.log).finish(client_left=True)
    summary = await bench.summary()
    assert summary["schema_version"] == 1
    assert summary["count"] == 5
    assert summary["avg_ttft_ms"] > 0
    assert summary["p95_ttft_ms"] >= summary["avg_ttft_ms"] * 0.5
    assert summary["avg_tokens_per_second"] == 1.5
    assert summary["uptime_seconds"] >= 0
    assert summary["requests_by_backend"] == {
        "embedded": BackendRequests(total_requests=3, streaming_requests=0).model_dump(),
        "vllm": BackendRequests(total_requests=1, streaming_requests=1).model_dump(),
    }
    figures = {each["model"]: (each["count"], each["errors"]) for each in summary["models"]}
    assert figures == {"small": (3, 1), "big": (1, 0)}


async def test_a_summary_of_nothing(bench: Bench) -> None:
    summary = await bench.summary()
    assert (summary["count"], summary["avg_ttft_ms"], summary["models"]) == (0, None, [])


@pytest.mark.parametrize("path", ["/metrics", "/v1/metrics"])
async def test_metrics_can_be_switched_off(bench: Bench, path: str) -> None:
    bench.settings = Settings(metrics=False)
    answer = await bench.http.get(path)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "disabled")


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.01, 1.0))
def test_percentiles(values: list[int], share: float) -> None:
    ordered = sorted(map(float, values))
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    smaller = [value for value in ordered if value < found]
    assert len(smaller) < share * len(ordered)
    assert percentile(ordered, 0.5) == statistics.median_low(ordered)


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.95) is None
