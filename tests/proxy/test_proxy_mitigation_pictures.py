"""Pictures in requests: scaled down, too large, told in words; and conversations with them made shorter."""

from __future__ import annotations

import base64
import copy
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitigating import chat, mended, model, picture, said
from PIL import Image

from quarterdeck.errors import AppError
from quarterdeck.proxy.mitigations.contents import parts_of, pictures_in
from quarterdeck.proxy.mitigations.history import newest_turns
from quarterdeck.proxy.mitigations.pictures import Smaller, scaled_down, size_of

_BLIND = {"capabilities": ["chat"], "backend": "ollama"}


def drawn(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, kind, **how)
    return out.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def ask(text: str, *urls: str, alt: str | None = None) -> tuple[str, Any]:
    return "user", [{"type": "text", "text": text}, *(picture(url, alt) for url in urls)]


# -- size


@settings(max_examples=40)
@given(
    st.integers(1, 900), st.integers(1, 900), st.integers(16, 400),
    st.sampled_from([("PNG", "RGB"), ("PNG", "RGBA"), ("JPEG", "RGB"), ("GIF", "P"), ("PNG", "L"), ("BMP", "RGB")]),
)  # fmt: skip
def test_scaling_down_keeps_the_shape_of_a_picture(width: int, height: int, edge: int, how: tuple[str, str]) -> None:
    result = scaled_down(drawn(width, height, *how), Smaller(edge, 85))
    if max(width, height) <= edge:
        assert result is None
        return
    assert result is not None
    small = Image.open(io.BytesIO(result[0]))
    assert max(small.size) == edge
    factor = edge / max(width, height)
    assert abs(small.width - width * factor) <= 1
    assert abs(small.height - height * factor) <= 1
    assert result[1] == Image.MIME[str(small.format)]
    assert scaled_down(result[0], Smaller(edge, 85)) is None


def test_a_photograph_held_upright_stays_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    result = scaled_down(drawn(800, 400, "JPEG", exif=exif), Smaller(200, 85))
    assert result is not None
    assert Image.open(io.BytesIO(result[0])).size == (100, 200)


def test_what_is_seen_through_stays_so() -> None:
    result = scaled_down(drawn(800, 400, "PNG", "RGBA"), Smaller(200, 85))
    assert result is not None
    assert (result[1], Image.open(io.BytesIO(result[0])).mode) == ("image/png", "RGBA")


@given(st.binary(max_size=60))
def test_what_is_no_picture_is_left_to_the_backend(data: bytes) -> None:
    assert scaled_down(data, Smaller(100, 85)) is None
    assert scaled_down(drawn(300, 200)[: 20 + len(data)], Smaller(100, 85)) is None


def test_a_picture_of_too_many_points_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(AppError) as caught:
        scaled_down(drawn(20_000, 20_000, "PNG", "1"), Smaller(100, 85))
    assert caught.value.status == 413


async def test_vllm_gets_smaller_pictures() -> None:
    asked = chat(ask("See", data_url(drawn(1000, 500))))
    before = copy.deepcopy(asked)
    result = await mended(asked, model("qwen2-vl"))
    part = result.asked.fields["messages"][0]["content"][1]
    assert opened(part["image_url"]["url"]).size == (448, 224)
    assert result.applied == ["downscale-pictures"]
    assert asked == before


async def test_other_backends_and_switches_keep_pictures_as_they_are() -> None:
    asked = chat(ask("See", data_url(drawn(1000, 500))))
    assert not (await mended(asked, model("x", "llama-server"))).changed
    assert not (await mended(asked, model("qwen2-vl"), downscale_images=False)).changed
    assert not (await mended(asked, model("qwen2-vl", policy={"downscale_images": False}))).changed
    assert (await mended(asked, model("x", "litellm", policy={"downscale_images": True}))).changed


async def test_a_picture_that_is_too_large_is_refused() -> None:
    url = "data:image/png;base64," + "A" * 9_400_000
    with pytest.raises(AppError) as caught:
        await mended(chat(ask("See", url)), model("qwen2-vl"))
    assert (caught.value.code, caught.value.status) == ("image_too_large", 413)
    assert not (await mended(chat(ask("See", url)), model("x"), max_image_bytes=9_000_000)).changed


@given(st.binary(max_size=400))
def test_the_size_of_a_picture_is_that_of_its_bytes(data: bytes) -> None:
    assert 0 <= size_of(data_url(data)) - len(data) <= 2
    assert size_of("https://example.com/a.png") == 0


# -- words instead


async def test_pictures_become_words_for_a_model_that_cannot_see() -> None:
    asked = chat(ask("See", "data:image/png;base64,AA==", alt="a cat"))
    result = await mended(asked, model("plain", **_BLIND))
    assert said(result)[0][1][1] == {"type": "text", "text": "[Picture: a cat]"}
    assert result.applied == ["alt-text"]
    assert "cannot see" in result.warnings[0]


async def test_without_a_text_for_every_picture_none_becomes_words() -> None:
    both = [picture("data:image/png;base64,AA==", "a cat"), picture("data:image/png;base64,AQ==")]
    assert not (await mended(chat(("user", both)), model("plain", **_BLIND))).changed
    seeing = model("x", "ollama", capabilities=["chat", "vision"])
    assert not (await mended(chat(("user", both[:1])), seeing)).changed


# -- history

_A, _B = "data:image/png;base64,AA==", "data:image/png;base64,AQ=="
_TALK = chat(
    ("system", "S"), ask("one", _A), ("assistant", "1"), ask("two", _B), ("assistant", "2"), ("user", "three")
).fields["messages"]


@pytest.mark.parametrize(
    ("turns", "kept"),
    [(0, ["S", "three"]), (1, ["S", "two", "2", "three"]), (9, ["S", "one", "1", "two", "2", "three"])],
)  # fmt: skip
def test_the_newest_turns_stay(turns: int, kept: list[str]) -> None:
    messages = newest_turns(_TALK, turns=turns, keep_system=True)
    words = [m["content"] if isinstance(m["content"], str) else m["content"][0]["text"] for m in messages]
    assert words == kept


def test_the_newest_picture_goes_along_when_it_would_be_lost() -> None:
    current = newest_turns(_TALK, turns=0, keep_system=True)[-1]
    assert current["content"] == [{"type": "text", "text": "three"}, picture(_B)]
    assert newest_turns(_TALK, turns=1, keep_system=True)[-1] == _TALK[-1]
    own = [*_TALK[:-1], {"role": "user", "content": [picture(_A)]}]
    assert newest_turns(own, turns=0, keep_system=False) == own[-1:]


_PART = st.one_of(
    st.text(max_size=4), st.lists(st.sampled_from([picture(_A), {"type": "text", "text": "t"}]), max_size=2), st.none()
)
_MESSAGE = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant", "tool"]), _PART,
)  # fmt: skip


@given(st.lists(_MESSAGE, max_size=9), st.integers(0, 4), st.booleans())
def test_the_current_message_and_what_follows_it_always_stay(
    messages: list[dict[str, Any]], turns: int, keep_system: bool
) -> None:
    before = copy.deepcopy(messages)
    kept = newest_turns(messages, turns=turns, keep_system=keep_system)
    assert messages == before
    asks = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if not asks:
        assert kept == messages
        return
    after = [each for each in messages[asks[-1] + 1 :] if keep_system or each["role"] != "system"]
    assert kept[len(kept) - len(after) :] == after
    current = kept[len(kept) - len(after) - 1]
    assert current["role"] == "user"
    own = parts_of(messages[asks[-1]])
    assert parts_of(current)[: len(own)] == own
    assert sum(each["role"] == "user" for each in kept) == min(len(asks), turns + 1)
    systems = [each for each in messages if each["role"] == "system"]
    assert [each for each in kept if each["role"] == "system"] == (systems if keep_system else [])
    counted = [each for each in messages if keep_system or each["role"] != "system"]
    if any(pictures_in(message) for message in counted):
        assert any(pictures_in(message) for message in kept)


async def test_a_long_conversation_with_pictures_is_cut_and_that_is_told() -> None:
    asked = chat(*_TALK)
    result = await mended(asked, model("llava", "ollama", capabilities=["chat", "vision"]))
    assert result.applied == ["cut-vision-history"]
    assert result.warnings == ["4 earlier messages were left out."]
    assert [message["role"] for message in result.asked.fields["messages"]] == ["system", "user"]
    kept = await mended(asked, model("llava", "litellm"), vision_keep_turns=1, vision_keep_system=False)
    assert len(kept.asked.fields["messages"]) == 3
    assert not (await mended(asked, model("llava", "litellm"), vision_truncate_history=False)).changed
    assert not (await mended(asked, model("llava", "litellm", policy={"cut_vision_history": False}))).changed


async def test_reasoning_conversations_are_cut_only_on_demand() -> None:
    talk = chat(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"), ("user", "three"))
    thinker = model("qwen3", "ollama", capabilities=["chat", "thinking"])
    assert not (await mended(talk, thinker)).changed
    cut = await mended(talk, thinker, reasoning_truncate_history=True)
    assert said(cut) == [("user", "two"), ("assistant", "2"), ("user", "three")]
    assert not (await mended(talk, model("plain"), reasoning_truncate_history=True)).changed
    assert (await mended(talk, model("plain", policy={"cut_reasoning_history": True}))).changed
