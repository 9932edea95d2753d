"""Who a request is from: nobody in particular, the owner of a key, or the owner of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from access_room import TOKEN, AccessRoom, access_room, bearer
from starlette.datastructures import Headers

from quarterdeck.errors import AppError
from quarterdeck.proxy.access.limiting import UNLIMITED
from quarterdeck.settings import Settings


@pytest.fixture
def room(tmp_path: Path) -> Iterator[AccessRoom]:
    with access_room(tmp_path, first_token_limit=77, request_retries=2) as made:
        yield made


def _refusal(room: AccessRoom, headers: dict[str, str], *, loopback_bind: bool = True) -> AppError:
    with pytest.raises(AppError) as refusal:
        room.access.check(Headers(headers), loopback_bind=loopback_bind)
    return refusal.value


@pytest.mark.parametrize(
    "headers", [{}, bearer("EMPTY"), bearer(""), {"x-api-key": "any"}, {"authorization": "Basic x"}]
)
async def test_without_keys_this_machine_may_do_all(room: AccessRoom, headers: dict[str, str]) -> None:
    principal = room.access.check(Headers(headers), loopback_bind=True)
    assert (principal.name, principal.admin, principal.models) == (None, False, frozenset())
    principal.require("anything")
    principal.require_admin()
    assert room.access.admit(principal, 10**9) is UNLIMITED


@pytest.mark.parametrize("headers", [{}, bearer("EMPTY"), {"x-api-key": "any"}])
async def test_without_keys_others_may_do_nothing(room: AccessRoom, headers: dict[str, str]) -> None:
    refusal = _refusal(room, headers, loopback_bind=False)
    assert (refusal.code, refusal.status) == ("unauthorized", 401)


async def test_once_there_is_a_key_everybody_needs_one(room: AccessRoom) -> None:
    text = await room.add()
    for loopback in (True, False):
        for headers in ({}, bearer("EMPTY"), bearer(text[:-1]), {"x-api-key": text + "x"}, {"authorization": text}):
            refusal = _refusal(room, headers, loopback_bind=loopback)
            assert (refusal.code, refusal.status) == ("unauthorized", 401)
            assert text not in refusal.sentence + refusal.hint + str(refusal.details)
        for headers in (bearer(text), {"X-Api-Key": text}, {"Authorization": f"bearer  {text} "}):
            assert room.access.check(Headers(headers), loopback_bind=loopback).name == "laptop"
        both = {"authorization": "Bearer EMPTY", "x-api-key": text}
        assert room.access.check(Headers(both), loopback_bind=loopback).name == "laptop"


async def test_the_refusal_says_which_it_is(room: AccessRoom) -> None:
    text = await room.add("old")
    await room.add("new")
    await room.keys.revoke("old")
    assert "needs an API key" in _refusal(room, {}).sentence
    assert "not known" in _refusal(room, bearer("x")).sentence
    assert "“old” was revoked" in _refusal(room, bearer(text)).sentence


async def test_the_local_token_opens_everything(room: AccessRoom) -> None:
    await room.add(models=["m"])
    for headers in (bearer(TOKEN), {"x-api-key": TOKEN}):
        principal = room.access.check(Headers(headers), loopback_bind=False)
        assert (principal.name, principal.admin, principal.models) == (None, True, frozenset())
        assert room.access.check_control(Headers(headers)).admin


async def test_control_is_for_the_token_and_admin_keys(room: AccessRoom) -> None:
    plain, admin = await room.add("plain"), await room.add("admin", admin=True)
    assert room.access.check_control(Headers(bearer(admin))).name == "admin"
    for headers, status in ((bearer(plain), 403), ({}, 401), (bearer("EMPTY"), 401), (bearer(admin + "x"), 401)):
        with pytest.raises(AppError) as refusal:
            room.access.check_control(Headers(headers))
        assert refusal.value.status == status
    await room.keys.revoke("admin")
    with pytest.raises(AppError):
        room.access.check_control(Headers(bearer(admin)))


async def test_a_key_is_for_its_models(room: AccessRoom) -> None:
    text = await room.add(models=["m1", "org/m2"])
    principal = room.access.check(Headers(bearer(text)), loopback_bind=True)
    principal.require("m1")
    assert principal.may_use("org/m2")
    assert not principal.may_use("M1")
    with pytest.raises(AppError) as refusal:
        principal.require("m3")
    assert (refusal.value.code, refusal.value.status) == ("model_forbidden", 403)
    assert refusal.value.details == {"models": ["m1", "org/m2"]}
    with pytest.raises(AppError):
        principal.require_admin()


async def test_profiles_by_key_and_by_header(room: AccessRoom) -> None:
    text = await room.add(profile="patient")
    check = room.access.check
    assert check(Headers(bearer(text)), loopback_bind=True).profile.name == "patient"
    fast = check(Headers({**bearer(text), "X-Quarterdeck-Profile": "fail-fast"}), loopback_bind=True).profile
    assert (fast.name, fast.first_token, fast.retries) == ("fail-fast", 5, 0)
    refusal = _refusal(room, {**bearer(text), "x-quarterdeck-profile": "hasty"})
    assert (refusal.code, refusal.status) == ("unknown_profile", 400)
    assert "fail-fast" in refusal.hint


async def test_profiles_follow_the_settings(room: AccessRoom) -> None:
    before = room.access.check(Headers({}), loopback_bind=True).profile
    assert (before.name, before.first_token, before.retries) == ("default", 77, 2)
    room.settings = Settings(first_token_limit=8)
    assert room.access.check(Headers({}), loopback_bind=True).profile.first_token == 8


async def test_a_key_that_changed_is_known_as_it_is_now(room: AccessRoom) -> None:
    text = await room.add(models=["m1"])
    assert room.access.check(Headers(bearer(text)), loopback_bind=True).models == {"m1"}
    await room.keys.revoke("laptop")
    text = await room.add(models=["m2"], admin=True)
    principal = room.access.check(Headers(bearer(text)), loopback_bind=True)
    assert (principal.models, principal.admin) == ({"m2"}, True)


async def test_limits_of_a_key_are_kept(room: AccessRoom) -> None:
    text = await room.add(concurrency=1, tokens_per_minute=50)
    principal = room.access.check(Headers(bearer(text)), loopback_bind=True)
    with room.access.admit(principal, 10), pytest.raises(AppError):
        room.access.admit(principal, 10)
    room.access.spent(principal, 40)
    with pytest.raises(AppError) as refusal:
        room.access.admit(principal, 10)
    assert refusal.value.details["limit"] == "tokens_per_minute"
