"""Spoken answers kept for a while: never under a wrong voice, never more than allowed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitigating import model

from quarterdeck.proxy.mitigations.speech_cache import SpeechCache, Spoken

_FIELDS = {"model": "tts", "input": "Hello", "voice": "nova", "response_format": "mp3", "speed": 1.0}


@pytest.mark.parametrize(
    "change", [{"voice": "onyx"}, {"input": "Hello!"}, {"response_format": "wav"}, {"speed": 1.5}, {"mood": "glad"}]
)
def test_the_key_is_all_that_was_asked(change: dict[str, Any]) -> None:
    view = model("kokoro")
    assert SpeechCache.key(_FIELDS | change, view) != SpeechCache.key(_FIELDS, view)
    assert SpeechCache.key(dict(reversed(_FIELDS.items())), view) == SpeechCache.key(_FIELDS, view)


@pytest.mark.parametrize(
    "change",
    [{"name": "xtts"}, {"backend": "litellm"}, {"served_name": "x"}, {"path": "/x"}, {"load_config": '{"a": 1}'},
     {"url": "http://a"}, {"expected_hash": "ff"}],
)  # fmt: skip
def test_the_key_is_the_model_too(change: dict[str, Any]) -> None:
    view = model("kokoro")
    assert SpeechCache.key(_FIELDS, view.model_copy(update=change)) != SpeechCache.key(_FIELDS, view)


def test_the_name_under_which_a_client_asked_does_not_matter() -> None:
    view = model("kokoro")
    assert SpeechCache.key(_FIELDS | {"model": "an alias"}, view) == SpeechCache.key(_FIELDS, view)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4000)), max_size=40), st.integers(0, 9000))
def test_it_never_holds_more_than_allowed(puts: list[tuple[int, int]], limit: int) -> None:
    cache = SpeechCache(lambda: limit)
    for name, size in puts:
        spoken = Spoken(bytes(size), f"audio/{size}")
        cache.put(str(name), spoken)
        assert cache.size <= limit
        assert cache.get(str(name)) in (None, spoken), "an old answer is never given for a new one"
    kept = [cache.get(str(name)) for name in range(10)]
    assert len(cache) == sum(each is not None for each in kept)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = SpeechCache(lambda: 5000)
    for name in "abcd":
        cache.put(name, Spoken(bytes(1000), "audio/mpeg"))
    assert cache.get("a") is not None
    cache.put("e", Spoken(bytes(1000), "audio/mpeg"))
    assert cache.get("b") is None
    assert cache.get("a") is not None


def test_a_smaller_limit_takes_effect_at_once() -> None:
    limit = 10_000
    cache = SpeechCache(lambda: limit)
    cache.put("a", Spoken(bytes(1000), "audio/mpeg"))
    limit = 0
    assert cache.get("a") is None
    cache.put("b", Spoken(bytes(10), "audio/mpeg"))
    assert (len(cache), cache.size) == (0, 0)
