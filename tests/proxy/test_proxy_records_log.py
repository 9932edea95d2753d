"""What a record says of its request, which requests are remembered, and what is told of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from request_records import ANSWER, answered, begin

from quarterdeck.proxy.records import log as log_module
from quarterdeck.proxy.records.log import KEPT_REQUESTS, TOLD_AT_ONCE, Keeping, RequestLog
from quarterdeck.schemas.requests import Operation, RequestView


class Told:
    """Hears what a log tells."""

    def __init__(self) -> None:
        self.views: list[RequestView] = []
        self.passed_over: list[int] = []
        self.arrived = asyncio.Event()

    def request(self, view: RequestView) -> None:
        self.views.append(view)
        self.arrived.set()

    async def until(self, count: int) -> None:
        while len(self.views) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def log(told: Told) -> RequestLog:
    return RequestLog(told.request, on_passed_over=told.passed_over.append)


async def test_an_answered_request(log: RequestLog) -> None:
    before = datetime.now(UTC)
    record = begin(log, operation=Operation.CHAT, asked="Small", key="laptop", client="10.0.0.7")
    assert log.running == 1
    record.dropped.append("options.numa")
    record.applied.append("fold_system")
    record.tried.append("other")
    record.routed("small", "embedded", "alias")
    record.sent()
    record.status = 200
    record.saw(ANSWER)
    record.finish(client_left=False)
    [view] = log.recent()
    assert log.running == 0
    assert (view.model, view.asked, view.route, view.backend) == ("small", "Small", "alias", "embedded")
    assert (view.status, view.stream, view.error, view.key, view.client) == (200, False, None, "laptop", "10.0.0.7")
    assert (view.prompt_tokens, view.completion_tokens, view.tokens_per_second) == (37, 24, 1.5)
    assert (view.dropped, view.applied, view.tried) == (["options.numa"], ["fold_system"], ["other"])
    assert 0 <= (view.waited_ms or 0) <= (view.first_token_ms or 0) <= view.total_ms
    assert before.replace(microsecond=0) <= view.at <= datetime.now(UTC)
    assert record.tokens == 61


async def test_a_request_ends_once(log: RequestLog, told: Told) -> None:
    record = answered(log)
    record.finish(client_left=True)
    record.saw(ANSWER)
    assert (len(log.recent()), log.running, log.recent()[0].status) == (1, 0, 200)


async def test_a_client_that_left(log: RequestLog) -> None:
    record = begin(log)
    record.status = 200
    record.finish(client_left=True)
    [view] = log.recent()
    assert (view.status, view.error) == (499, "The client went away.")


async def test_a_failed_request(log: RequestLog) -> None:
    record = begin(log)
    record.failed(409, "“small” cannot see pictures.", "capability_mismatch")
    record.finish(client_left=False)
    [view] = log.recent()
    assert (view.status, view.error, view.first_token_ms) == (409, "“small” cannot see pictures.", None)


async def test_a_request_that_nobody_answered_is_a_defect(log: RequestLog) -> None:
    begin(log).finish(client_left=False)
    assert log.recent()[0].status == 500


async def test_tokens_are_counted_where_the_engine_does_not_say(log: RequestLog) -> None:
    record = begin(log, stream=True)
    for word in ("One", " two", " three"):
        record.saw_chunk({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
    assert not record.stream_ended
    record.saw_chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    assert record.stream_ended
    record.finish(client_left=False)
    [view] = log.recent()
    assert view.completion_tokens == 3
    assert (view.tokens_per_second or 0) > 0


async def test_names_of_any_length_are_cut(log: RequestLog) -> None:
    begin(log, asked="x" * 10**6, client="y" * 10**6).finish(client_left=False)
    [view] = log.recent()
    assert len(view.asked) < 1000
    assert len(view.client or "") < 1000


async def test_only_the_newest_requests_are_kept(log: RequestLog) -> None:
    records = [answered(log, model=f"m{number}") for number in range(KEPT_REQUESTS + 7)]
    names = [view.model for view in log.recent()]
    assert names == [record.model for record in reversed(records[7:])]
    assert [view.model for view in log.recent(2)] == names[:2]
    assert [view.model for view in log.recent(fits=lambda record: record.model == "m9")] == ["m9"]
    assert log.detail(records[0].id) is None
    assert log.detail(records[-1].id) is not None


async def test_a_few_requests_are_told_one_by_one(log: RequestLog, told: Told) -> None:
    first = answered(log)
    assert [view.id for view in told.views] == [first.id]
    second = answered(log)
    await told.until(2)
    assert [view.id for view in told.views] == [first.id, second.id]
    assert told.passed_over == []


async def test_of_many_requests_the_newest_are_told(log: RequestLog, told: Told) -> None:
    records = [answered(log) for _ in range(1000)]
    assert len(told.views) == 1
    await told.until(1 + TOLD_AT_ONCE)
    ids = [record.id for record in records]
    assert [view.id for view in told.views] == [ids[0], *ids[-TOLD_AT_ONCE:]]
    assert told.passed_over == [1000 - 1 - TOLD_AT_ONCE]


async def test_telling_goes_on_after_a_burst(log: RequestLog, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "TOLD_SECONDS", 0.0)
    for count in (1, 2, 3):
        answered(log)
        await told.until(count)


async def test_the_end_leaves_nothing_untold(log: RequestLog, told: Told) -> None:
    records = [answered(log) for _ in range(3)]
    log.close()
    assert [view.id for view in told.views] == [record.id for record in records]


async def test_sinks_get_every_request_before_its_texts_are_gone(told: Told) -> None:
    got: list[tuple[str, bool]] = []
    log = RequestLog(
        told.request,
        sinks=[lambda record: got.append((record.id, record.texts is not None))],
        keeping=lambda: Keeping(prompts=True),
    )
    record = begin(log)
    record.original(b"secret prompt")
    record.finish(client_left=False)
    assert got == [(record.id, True)]
    detail = log.detail(record.id)
    assert detail is not None
    assert (detail.original, detail.request.captured) == (None, False)
