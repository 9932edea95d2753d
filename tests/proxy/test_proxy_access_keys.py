"""API keys: made once, found by their text, never kept as text, ended at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from access_room import AccessRoom, access_room
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.proxy.access.keys import KeyStore
from quarterdeck.schemas.access import KeyCreate


@pytest.fixture
def room(tmp_path: Path) -> Iterator[AccessRoom]:
    with access_room(tmp_path) as made:
        yield made


async def test_a_key_is_found_by_its_text_only(room: AccessRoom) -> None:
    text = await room.add("laptop", models=["m1"], requests_per_minute=5)
    found = room.keys.find(text)
    assert found is not None
    assert (found.name, found.models, found.requests_per_minute) == ("laptop", ["m1"], 5)
    assert text.startswith(found.begins_with)
    assert len(found.begins_with) < 12
    for other in (text + "x", text[:-1], text.upper(), found.begins_with, "", "é\udcff"):
        assert room.keys.find(other) is None


async def test_every_key_is_another(room: AccessRoom) -> None:
    texts = {await room.add(f"key {number}") for number in range(20)}
    assert len(texts) == 20
    assert all(len(text) > 40 for text in texts)


async def test_keys_last_and_their_texts_are_nowhere(room: AccessRoom, tmp_path: Path) -> None:
    text = await room.add("laptop", admin=True, profile="patient", tokens_per_minute=9, concurrency=2)
    again = KeyStore(room.database)
    await again.open()
    assert again.find(text) == room.keys.find(text)
    assert again.exist
    room.database.close()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or text.encode() not in file.read_bytes(), file


async def test_a_revoked_key_ends_at_once_and_stays_in_the_list(room: AccessRoom) -> None:
    text = await room.add()
    view = await room.keys.revoke("laptop")
    assert room.keys.find(text) is None
    assert not room.keys.exist
    assert [key.revoked_at for key in room.keys.all()] == [view.revoked_at]
    again = KeyStore(room.database)
    await again.open()
    assert again.find(text) is None
    assert not again.exist


async def test_the_name_of_a_revoked_key_can_be_used_again(room: AccessRoom) -> None:
    old = await room.add()
    with pytest.raises(AppError) as taken:
        await room.add()
    assert (taken.value.code, taken.value.status) == ("key_exists", 409)
    await room.keys.revoke("laptop")
    new = await room.add(models=["m2"])
    assert room.keys.find(old) is None
    found = room.keys.find(new)
    assert found is not None
    assert found.models == ["m2"]
    assert len(room.keys.all()) == 1


async def test_revoking_what_is_not_there_names_what_is(room: AccessRoom) -> None:
    await room.add("laptop")
    await room.add("phone")
    await room.keys.revoke("phone")
    for name in ("phone", "nobody", ""):
        with pytest.raises(AppError) as missing:
            await room.keys.revoke(name)
        assert (missing.value.code, missing.value.status) == ("unknown_key", 404)
        assert "laptop" in missing.value.hint


async def test_an_expired_key_is_refused_and_still_keeps_the_door_shut(room: AccessRoom) -> None:
    text = await room.add(expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert room.keys.find(text) is not None
    with sqlite3.connect(next(Path(room.database._data).glob("*.db"))) as direct:
        direct.execute("UPDATE api_key SET expires_at = '2020-01-01 00:00:00.000000'")
    direct.close()
    await room.keys.open()
    assert room.keys.find(text) is None
    assert room.keys.known(text) is not None
    assert room.keys.exist


@pytest.mark.parametrize(
    "fields",
    [{"expires_at": datetime(2020, 1, 1)}, {"profile": "fast"}, {"name": "a\nb"}, {"name": " a"}, {"name": "a\x00"}],
)
async def test_a_key_that_makes_no_sense_is_refused(room: AccessRoom, fields: dict[str, object]) -> None:
    with pytest.raises(AppError):
        await room.keys.add(KeyCreate.model_validate({"name": "laptop", **fields}))
    assert room.keys.all() == []
    assert not room.keys.exist


@given(hours=st.integers(1, 10_000), zone=st.integers(-12, 14))
def test_an_end_is_the_same_moment_in_every_zone(hours: int, zone: int) -> None:
    from quarterdeck.proxy.access.keys import _checked

    moment = datetime.now(UTC) + timedelta(hours=hours)
    here = moment.astimezone(timezone(timedelta(hours=zone)))
    assert _checked(KeyCreate(name="a", expires_at=here)).expires_at == moment
    naive = moment.astimezone().replace(tzinfo=None)
    assert _checked(KeyCreate(name="a", expires_at=naive)).expires_at == moment


async def test_the_last_use_is_noted_and_written(room: AccessRoom) -> None:
    text = await room.add()
    view = room.keys.find(text)
    assert view is not None
    assert view.last_used_at is None
    room.keys.used(view)
    first = view.last_used_at
    assert first is not None
    room.keys.used(view)
    assert view.last_used_at == first
    # The write was handed over before this one, and the database does one after the other.
    again = KeyStore(room.database)
    for _ in range(3):
        await again.open()
    stored = again.find(text)
    assert stored is not None
    assert stored.last_used_at == first


async def test_two_keys_of_one_name_at_once_make_one(room: AccessRoom) -> None:
    import asyncio

    made = await asyncio.gather(*(room.add() for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, str) for each in made) == 1
    assert len(room.keys.all()) == 1
