"""The texts of requests: off by default, bounded, without pictures and keys."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from request_records import begin

from quarterdeck.proxy.records.capture import HIDDEN, TEXT_LIMIT, Capture, Text, hide_keys
from quarterdeck.proxy.records.log import Keeping, RequestLog
from quarterdeck.proxy.records.record import RequestRecord

PICTURE = base64.b64encode(bytes(range(256)) * 400).decode()


class Switch:
    """A log whose capture can be switched."""

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self.log = RequestLog(lambda _view: None, keeping=lambda: Keeping(capture=self.on))

    def request(self, text: bytes = b'{"model":"small"}') -> RequestRecord:
        record = begin(self.log)
        record.original(text)
        record.converted(b"first try")
        record.converted(b"second try")
        record.upstream(b"data: 1\n\n")
        record.upstream(b"data: 2\n\n")
        record.answer(b"whole")
        record.finish(client_left=False)
        return record


async def test_nothing_is_kept_unless_it_is_switched_on() -> None:
    switch = Switch(on=False)
    detail = switch.log.detail(switch.request().id)
    assert detail is not None
    assert not detail.request.captured
    assert detail.original is detail.converted is detail.upstream is detail.answer is None


async def test_the_four_texts() -> None:
    switch = Switch(on=True)
    detail = switch.log.detail(switch.request().id)
    assert detail is not None
    assert detail.request.captured
    texts = (detail.original, detail.converted, detail.upstream, detail.answer)
    assert [text.text if text else None for text in texts] == [
        '{"model":"small"}', "second try", "data: 1\n\ndata: 2\n\n", "whole",
    ]  # fmt: skip
    assert detail.upstream is not None
    assert (detail.upstream.size, detail.upstream.cut) == (18, False)


async def test_switching_off_forgets_at_once() -> None:
    switch = Switch(on=True)
    record = switch.request()
    switch.on = False
    detail = switch.log.detail(record.id)
    assert detail is not None
    assert (detail.original, record.texts) == (None, None)
    switch.on = True
    other = switch.request()
    switch.on = False
    switch.request()
    assert other.texts is None


async def test_the_oldest_texts_give_way() -> None:
    log = RequestLog(lambda _view: None, keeping=lambda: Keeping(capture=True))
    capture = Capture(most=100, limit=2500)
    records = []
    for _ in range(4):
        record = begin(log)
        record.original(b"x " * 500)
        capture.keep(record)
        records.append(record)
    assert [record.texts is not None for record in records] == [False, False, True, True]


async def test_no_more_texts_than_requests_are_kept() -> None:
    log = RequestLog(lambda _view: None, keeping=lambda: Keeping(capture=True))
    capture = Capture(most=2)
    records = [begin(log) for _ in range(3)]
    for record in records:
        capture.keep(record)
    assert [record.texts is not None for record in records] == [False, True, True]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": f"data:image/png;base64,{PICTURE}"},
        {"images": [PICTURE, PICTURE]},
        {"source": {"type": "base64", "data": PICTURE}},
    ],
)
def test_pictures_are_shortened(fields: dict[str, object]) -> None:
    text = Text()
    text.add(json.dumps({"before": "seen", **fields, "after": "seen too"}).encode())
    shown = text.shown()
    assert shown is not None
    assert len(shown.text) < 400
    assert json.loads(shown.text)["after"] == "seen too"
    assert f"({len(PICTURE)} characters)" in shown.text
    assert shown.size > len(PICTURE)
    assert not shown.cut


@given(st.lists(st.integers(0, TEXT_LIMIT // 3), min_size=1, max_size=8))
def test_long_texts_are_cut(sizes: list[int]) -> None:
    text = Text()
    for size in sizes:
        text.add(b"a b " * (size // 4))
    whole = sum(size // 4 * 4 for size in sizes)
    shown = text.shown()
    if shown is None:
        assert whole == 0
        return
    assert (shown.size, len(shown.text)) == (whole, min(whole, TEXT_LIMIT))
    assert shown.cut is (whole > TEXT_LIMIT)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{"api_key": "very\\"secret"}', "very"),
        ('{"apiKey":"abc"}', "abc"),
        ('{"headers": {"Authorization": "Basic dXNlcjpwYXNz"}}', "dXNlcjpwYXNz"),
        ('{"password" : "hunter2"}', "hunter2"),
        ("use sk-proj-0123456789abcdef for it", "0123456789abcdef"),
        ("Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("hf_abcdefghijklmnop", "abcdefghijklmnop"),
    ],
)
def test_keys_are_hidden(text: str, secret: str) -> None:
    hidden = hide_keys(text)
    assert secret not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize("text", ['{"max_tokens": 5, "tokens": ["a"]}', "the bearer of news", '{"keys": "piano"}'])
def test_what_is_no_key_stays(text: str) -> None:
    assert hide_keys(text) == text
