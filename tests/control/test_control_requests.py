"""The newest requests through the control API: which ones, in which order, and one with its texts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from request_records import answered, begin

from quarterdeck.control import errors, requests
from quarterdeck.control.relay import Relay
from quarterdeck.control.services import Services
from quarterdeck.proxy.records.log import Keeping, RequestLog
from quarterdeck.schemas.requests import Operation, RequestDetail
from quarterdeck.storage.events import EventLog


class Api:
    """The routes over a log of their own."""

    def __init__(self) -> None:
        self.keeping = Keeping()
        self.log = RequestLog(lambda _view: None, keeping=lambda: self.keeping)
        app = FastAPI()
        errors.install(app)
        app.include_router(requests.router(cast(Services, SimpleNamespace(requests=self.log))))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")

    async def ids(self, **query: Any) -> list[str]:
        answer = (await self.http.get("/api/requests", params=query)).raise_for_status()
        return [each["id"] for each in answer.json()]


@pytest.fixture
async def api() -> Api:
    return Api()


async def test_the_newest_come_first(api: Api) -> None:
    ids = [answered(api.log).id for _ in range(3)]
    assert await api.ids() == ids[::-1]
    assert await api.ids(limit=2) == ids[:0:-1]


async def test_requests_are_filtered(api: Api) -> None:
    plain = answered(api.log).id
    native = answered(api.log, model="big", backend="vllm", dialect="ollama", key="laptop").id
    missing = answered(api.log, model="big", status=404, operation=Operation.EMBEDDINGS).id
    unknown = begin(api.log, asked="Nobody")
    unknown.failed(503, "Too busy.")
    unknown.finish(client_left=False)
    assert await api.ids(model="big") == [missing, native]
    assert await api.ids(model="Nobody") == [unknown.id]
    assert await api.ids(status="ok") == [native, plain]
    assert await api.ids(status="error") == [unknown.id, missing]
    assert await api.ids(status="4xx") == await api.ids(status="404") == [missing]
    assert await api.ids(status="400") == []
    assert await api.ids(backend="vllm") == await api.ids(dialect="ollama") == await api.ids(key="laptop") == [native]
    assert await api.ids(operation="embeddings") == [missing]
    assert await api.ids(model="big", status="ok") == [native]
    assert await api.ids(model="big", limit=1) == [missing]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"limit": "x"}, {"status": "6xx"}, {"status": "fine"}])
async def test_a_filter_that_makes_no_sense_is_refused(api: Api, query: dict[str, Any]) -> None:
    answer = await api.http.get("/api/requests", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_one_request_with_its_texts(api: Api) -> None:
    api.keeping = Keeping(capture=True)
    record = begin(api.log)
    record.original(b'{"prompt":"hello"}')
    record.finish(client_left=False)
    answer = await api.http.get(f"/api/requests/{record.id}")
    detail = RequestDetail.model_validate(answer.json())
    assert detail.request.id == record.id
    assert detail.original is not None
    assert detail.original.text == '{"prompt":"hello"}'
    assert detail.answer is None


async def test_a_request_that_is_not_known(api: Api) -> None:
    answer = await api.http.get("/api/requests/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_request")


async def test_many_requests_are_few_events() -> None:
    told: list[tuple[str, str, Any]] = []
    events = SimpleNamespace(publish=lambda *event: told.append(event), watch_changed=None, watched=lambda _topic: True)
    async with AsyncExitStack() as stack:
        relay = Relay(cast(EventLog, events), stack)
        log = RequestLog(relay.request, on_passed_over=relay.requests_passed_over)
        ids = [answered(log).id for _ in range(300)]
        log.close()
    assert [type for _topic, type, _data in told] == ["finished", "passed_over", *["finished"] * 10]
    assert {topic for topic, _type, _data in told} == {"request"}
    assert told[1][2] == {"count": 289}
    assert [view.id for _topic, type, view in told if type == "finished"] == [ids[0], *ids[-10:]]
