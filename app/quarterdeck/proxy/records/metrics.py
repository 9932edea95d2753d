"""Counts and times of requests since the start: the text that Prometheus reads, and a summary as JSON."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from quarterdeck import __version__
from quarterdeck.proxy.records.record import RequestRecord
from quarterdeck.schemas.hardware import GpuSample
from quarterdeck.schemas.requests import BackendRequests, MetricsSummary, ModelFigures

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MOST_LABELS = 200
OTHER = "other"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_TOKENS = (1.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0)
_RATES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_MS = 1000.0
_P95 = 0.95


class State(NamedTuple):
    """What is true now, beside the requests: loaded models as (model, backend), loads that run or wait, GPUs."""

    loaded: Sequence[tuple[str, str]] = ()
    queued: int = 0
    gpus: Sequence[GpuSample] = ()


class Metrics:
    """Counts finished requests. Core loop only.

    Labels are names of models and backends that are known here, never what a client wrote; beyond MOST_LABELS of a
    kind they become OTHER, so that memory stays bounded.
    """

    def __init__(self, running: Callable[[], int] = lambda: 0) -> None:
        self._running = running
        self._started = time.time()
        self._models: set[str] = set()
        self._backends: set[str] = set()
        self._requests: Counter[tuple[str, str, str, int]] = Counter()
        self._streaming: Counter[str] = Counter()
        self._series: dict[tuple[str, str], _Series] = {}

    def add(self, record: RequestRecord) -> None:
        """Count a finished request."""
        model, backend = _bounded(self._models, record.model), _bounded(self._backends, record.backend or "")
        self._requests[model, backend, record.dialect, record.status] += 1
        if record.stream:
            self._streaming[backend] += 1
        if not model or record.status >= 400:
            return
        series = self._series.get((model, backend))
        if series is None:
            series = self._series[model, backend] = _Series()
        series.add(record)

    def exposition(self, state: State, accept: str = "") -> tuple[bytes, str]:
        """The text of all metrics in the format that `accept` asks for, and its content type."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(list(self._families(state))))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def summary(self, records: Iterable[RequestRecord]) -> MetricsSummary:
        """The figures of `records`, the newest ones, and the counts since the start."""
        newest = list(records)
        by_model: dict[str, list[RequestRecord]] = defaultdict(list)
        for record in newest:
            if record.model:
                by_model[record.model].append(record)
        whole = _figures("", newest)
        return MetricsSummary(
            uptime_seconds=round(time.time() - self._started, 3),
            count=whole.count,
            avg_ttft_ms=whole.avg_ttft_ms,
            p95_ttft_ms=whole.p95_ttft_ms,
            avg_tokens_per_second=whole.avg_tokens_per_second,
            requests_by_backend=self._by_backend(),
            models=[_figures(model, found) for model, found in sorted(by_model.items())],
        )

    def _by_backend(self) -> dict[str, BackendRequests]:
        totals: Counter[str] = Counter()
        for (_model, backend, _dialect, _status), count in self._requests.items():
            if backend:
                totals[backend] += count
        return {
            backend: BackendRequests(total_requests=count, streaming_requests=self._streaming[backend])
            for backend, count in sorted(totals.items())
        }

    def _families(self, state: State) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily("quarterdeck", "The version that runs.", value={"version": __version__})
        yield GaugeMetricFamily("quarterdeck_start_time_seconds", "When Quarterdeck was started.", self._started)
        requests = CounterMetricFamily(
            "quarterdeck_requests", "Finished requests.", labels=("model", "backend", "dialect", "status")
        )
        for (model, backend, dialect, status), count in self._requests.items():
            requests.add_metric((model, backend, dialect, str(status)), count)
        yield requests
        yield from self._tokens()
        yield from self._histograms()
        yield GaugeMetricFamily("quarterdeck_requests_running", "Requests that are not finished.", self._running())
        yield GaugeMetricFamily("quarterdeck_load_queue_length", "Loads that run or wait.", state.queued)
        loaded = GaugeMetricFamily("quarterdeck_model_loaded", "Loaded models.", labels=("model", "backend"))
        for names in state.loaded:
            loaded.add_metric(names, 1)
        yield loaded
        yield from _of_gpus(state.gpus)

    def _tokens(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        tokens = CounterMetricFamily("quarterdeck_tokens", "Tokens.", labels=("model", "backend", "kind"))
        for (model, backend), series in self._series.items():
            tokens.add_metric((model, backend, "prompt"), series.prompt.total)
            tokens.add_metric((model, backend, "completion"), series.completion.total)
        yield tokens

    def _histograms(self) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily

        for name, attribute, text in _HISTOGRAMS:
            family = HistogramMetricFamily(f"quarterdeck_{name}", text, labels=("model", "backend"))
            for names, series in self._series.items():
                histogram: _Histogram = getattr(series, attribute)
                family.add_metric(names, histogram.buckets(), histogram.total)
            yield family


class _Histogram:
    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """The counts up to each bound, as Prometheus wants them."""
        found, count = [], 0
        for bound, here in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            count += here
            found.append((bound, float(count)))
        return found


_HISTOGRAMS = (
    ("request_duration_seconds", "duration", "From the arrival of a request to the end of its answer."),
    ("request_wait_seconds", "wait", "From the arrival of a request until a backend had it, loading included."),
    ("time_to_first_token_seconds", "first", "From the arrival of a streamed request to the first text of its answer."),
    ("tokens_per_second", "rate", "How fast an answer was written."),
    ("prompt_tokens", "prompt", "Tokens of prompts."),
    ("completion_tokens", "completion", "Tokens of answers."),
)


class _Series:
    """The histograms of one model at one backend."""

    __slots__ = ("completion", "duration", "first", "prompt", "rate", "wait")

    def __init__(self) -> None:
        self.duration, self.wait, self.first = _Histogram(_SECONDS), _Histogram(_SECONDS), _Histogram(_SECONDS)
        self.prompt, self.completion, self.rate = _Histogram(_TOKENS), _Histogram(_TOKENS), _Histogram(_RATES)

    def add(self, record: RequestRecord) -> None:
        self.duration.add(record.total_ms / _MS)
        if record.waited_ms is not None:
            self.wait.add(record.waited_ms / _MS)
        if record.stream and record.first_token_ms is not None:
            self.first.add(record.first_token_ms / _MS)
        if record.tokens_per_second is not None:
            self.rate.add(record.tokens_per_second)
        if record.prompt_tokens is not None:
            self.prompt.add(record.prompt_tokens)
        if record.completion_tokens is not None:
            self.completion.add(record.completion_tokens)


class _Collected:
    """Metrics that were gathered already, as prometheus_client wants to collect them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _bounded(known: set[str], name: str) -> str:
    if name in known or not name:
        return name
    if len(known) >= MOST_LABELS:
        return OTHER
    known.add(name)
    return name


def _of_gpus(gpus: Sequence[GpuSample]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ("gpu", "uuid", "name")
    used = GaugeMetricFamily("quarterdeck_gpu_memory_used_bytes", "GPU memory in use.", labels=labels)
    total = GaugeMetricFamily("quarterdeck_gpu_memory_total_bytes", "GPU memory.", labels=labels)
    busy = GaugeMetricFamily("quarterdeck_gpu_utilization_ratio", "How busy a GPU is, 0 to 1.", labels=labels)
    for gpu in gpus:
        names = (str(gpu.index), gpu.uuid, gpu.name)
        if gpu.memory_used is not None:
            used.add_metric(names, gpu.memory_used)
        if gpu.memory_total is not None:
            total.add_metric(names, gpu.memory_total)
        if gpu.utilization is not None:
            busy.add_metric(names, gpu.utilization / 100)
    yield from (used, total, busy)


def _figures(model: str, records: list[RequestRecord]) -> ModelFigures:
    """Times and speeds are those of answers that were no errors."""
    good = [record for record in records if record.status < 400]
    first = sorted(record.first_token_ms for record in good if record.first_token_ms is not None)
    speeds = [record.tokens_per_second for record in good if record.tokens_per_second is not None]
    return ModelFigures(
        model=model,
        count=len(records),
        errors=len(records) - len(good),
        avg_ttft_ms=_mean(first),
        p95_ttft_ms=percentile(first, _P95),
        avg_tokens_per_second=_mean(speeds),
    )


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of the `ordered` values that at least `share` of them do not exceed; None of none."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, bisect_left(range(1, len(ordered) + 1), share * len(ordered)))], 3)
