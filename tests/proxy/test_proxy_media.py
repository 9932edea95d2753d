"""The model in a form with a file, and the engines that take sound and pictures."""

from __future__ import annotations

import email
import email.policy
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama_front import model

from quarterdeck.errors import AppError
from quarterdeck.proxy.media import check_media, read_multipart_model, replace_multipart_model
from quarterdeck.schemas.requests import Operation

TYPE = "multipart/form-data; boundary=edge"

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=60).filter(
    lambda text: text == text.strip()
)
contents = st.one_of(
    st.binary(max_size=200),
    # What looks like the form itself.
    st.lists(st.sampled_from([b"\r\n", b"--", b"edge", b"--edg", b'name="model"', b"\n", b"\r", b"x"]), max_size=12)
    .map(b"".join)
    .filter(lambda data: b"\r\n--edge" not in b"\r\n" + data),
)


def form(*parts: tuple[str, bytes], boundary: str = "edge", end: bytes = b"--\r\n") -> bytes:
    """A form of parts, each with what stands behind `form-data`."""
    body = b""
    for disposition, content in parts:
        head = f"--{boundary}\r\nContent-Disposition: form-data{disposition}\r\n\r\n".encode()
        body += head + content + b"\r\n"
    return body + f"--{boundary}".encode() + end


MODEL = ('; name="model"', b"whisper")
FILE = ('; name="file"; filename="a.wav"', b"RIFF\0\1\2")


def refused(body: bytes, content_type: str = TYPE) -> AppError:
    with pytest.raises(AppError) as caught:
        read_multipart_model(body, content_type)
    assert caught.value.status == 400
    return caught.value


@given(models=st.tuples(names, names), before=contents, after=contents, place=st.integers(0, 2))
def test_only_the_model_is_replaced(models: tuple[str, str], before: bytes, after: bytes, place: int) -> None:
    others = [(FILE[0], before), ('; name="language"', after)]
    parts = [*others[:place], ('; name="model"', models[0].encode()), *others[place:]]
    body = form(*parts)
    assert read_multipart_model(body, TYPE) == models[0]
    replaced = replace_multipart_model(body, TYPE, models[1])
    parts[min(place, 2)] = ('; name="model"', models[1].encode())
    assert replaced == form(*parts)


@given(content=st.binary(max_size=2000), fields=st.dictionaries(names, names, max_size=3))
def test_forms_as_httpx_makes_them(content: bytes, fields: dict[str, str]) -> None:
    fields.pop("model", None)
    request = httpx.Request(
        "POST", "http://x", data={**fields, "model": "whisper"}, files={"file": ("ü \"'.wav", content)}
    )
    body, content_type = request.read(), request.headers["content-type"]
    assert read_multipart_model(body, content_type) == "whisper"
    replaced = replace_multipart_model(body, content_type, "Systran/faster-whisper-small")
    read = email.message_from_bytes(
        f"Content-Type: {content_type}\r\n\r\n".encode() + replaced, policy=email.policy.HTTP
    )
    values = {part.get_param("name", header="content-disposition"): part for part in read.iter_parts()}  # type: ignore[attr-defined]
    assert values["model"].get_payload(decode=True) == b"Systran/faster-whisper-small"
    assert content in replaced
    assert len(replaced) == len(body) + len("Systran/faster-whisper-small") - len("whisper")


@given(st.binary(max_size=300), st.sampled_from([TYPE, "multipart/form-data", "application/json", TYPE + "x"]))
def test_anything_else_is_refused_and_never_a_defect(body: bytes, content_type: str) -> None:
    refused(body, content_type)
    with pytest.raises(AppError):
        replace_multipart_model(body, content_type, "x")


@given(st.data())
def test_a_form_that_is_cut_off_is_refused(data: st.DataObject) -> None:
    body = form(FILE, MODEL, ('; name="language"', b"en"), end=b"--")
    refused(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize(
    "content_type",
    [
        TYPE, 'multipart/form-data; boundary="edge"', "Multipart/Form-Data; charset=utf-8; BOUNDARY=edge",
        "multipart/form-data;boundary=edge ; x=y",
    ],
)  # fmt: skip
def test_the_boundary_is_found(content_type: str) -> None:
    assert read_multipart_model(form(FILE, MODEL), content_type) == "whisper"


@pytest.mark.parametrize(
    "disposition", ['; name="model"', "; name=model", ';name="mo\\del"', '; NAME="model"', '; x=y; name = "model"']
)
def test_spellings_of_the_field(disposition: str) -> None:
    assert read_multipart_model(form((disposition, b" whisper\n")), TYPE) == "whisper"


def test_further_headers_of_the_field_are_kept() -> None:
    body = form(MODEL, FILE).replace(b"\r\n\r\nwhisper", b"\r\nContent-Type: text/plain\r\n\r\nwhisper")
    assert read_multipart_model(body, TYPE) == "whisper"
    assert b"Content-Type: text/plain\r\n\r\nx\r\n" in replace_multipart_model(body, TYPE, "x")


def test_text_around_the_form_is_no_part_of_it() -> None:
    body = (
        b"hello\r\n" + form(MODEL) + b'--edge\r\nContent-Disposition: form-data; name="model"\r\n\r\nother\r\n--edge--'
    )
    assert read_multipart_model(body, TYPE) == "whisper"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        form(FILE),
        form(MODEL, MODEL),
        form(MODEL, ('; name="model"; filename="m"', b"other")),
        form(('; name="model"; filename="m"', b"whisper")),
        form(("; name*=utf-8''model", b"whisper")),
        form(MODEL, ("; name=\"x\"; name*=utf-8''model", b"other")),
        form(('; name="x"; name="model"', b"whisper")),
        form(MODEL, ("", b"other")),
        form(('; name="model"', b"")),
        form(('; name="model"', b"\xff")),
        form(('; name="model"', b"x" * 2000)),
        form(MODEL, boundary="other"),
        form(MODEL).replace(b"--edge\r\n", b"--edge x\r\n"),
        b"--edge\r\n" + b"x: y\r\n" * 10_000 + b"\r\n\r\n" + form(MODEL),
    ],
    ids=range(15),
)
def test_what_two_readers_could_read_differently_is_refused(body: bytes) -> None:
    assert refused(body).code in ("invalid_form", "model_required")


def test_a_name_cannot_break_out_of_its_field() -> None:
    with pytest.raises(AppError):
        replace_multipart_model(form(MODEL), TYPE, 'x\r\n--edge\r\nContent-Disposition: form-data; name="file"\r\n\r\n')


async def test_the_official_client_sends_such_forms() -> None:
    """A recording goes through as it is, with the name under which the engine knows the model."""
    seen: dict[str, Any] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen["body"], seen["type"] = request.read(), request.headers["content-type"]
        return httpx.Response(200, json={"text": "hello"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with openai.AsyncOpenAI(base_url="http://x/v1", api_key="EMPTY", http_client=http) as client:
        sound = bytes(range(256)) * 4
        await client.audio.transcriptions.create(model="whisper", file=("a.wav", sound), language="en")
    assert read_multipart_model(seen["body"], seen["type"]) == "whisper"
    assert sound in replace_multipart_model(seen["body"], seen["type"], "large")


@pytest.mark.parametrize(
    ("backend", "operation", "able"),
    [
        ("litellm", Operation.SPEECH, True),
        ("openai-compatible", Operation.IMAGES, True),
        ("vllm", Operation.TRANSCRIPTION, True),
        ("vllm", Operation.SPEECH, False),
        ("embedded", Operation.TRANSCRIPTION, False),
        ("ollama", Operation.IMAGES, False),
        ("embedded", Operation.CHAT, True),
        ("ollama", Operation.EMBEDDINGS, True),
    ],
)
def test_engines_without_such_an_interface_are_not_asked(backend: str, operation: Operation, able: bool) -> None:
    if able:
        check_media(model("m", backend), operation)
        return
    with pytest.raises(AppError) as caught:
        check_media(model("m", backend), operation)
    assert (caught.value.status, caught.value.code) == (501, "not_supported")
    assert "litellm" in caught.value.hint
