"""The doctor's parts without a network: addresses, catalogue, judging streams, proxies, secrets."""

from __future__ import annotations

import json
import string
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quarterdeck.diagnosis.doctor.addresses import read_address
from quarterdeck.diagnosis.doctor.catalogue import catalogue, explain, words_of
from quarterdeck.diagnosis.doctor.findings import StepError
from quarterdeck.diagnosis.doctor.network import check_address, check_proxies
from quarterdeck.diagnosis.doctor.secrets import HIDDEN, masked
from quarterdeck.diagnosis.doctor.streaming import Stream, is_held_back
from quarterdeck.diagnosis.doctor.targets import Target
from quarterdeck.schemas.doctor import StepState


@pytest.mark.parametrize(
    ("written", "meant", "codes"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", []),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000", []),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1", ["trailing_slash"]),
        ("localhost:11434", "http://localhost:11434", ["scheme_missing"]),
        ("chat.example.org:443/v1", "https://chat.example.org/v1", ["scheme_missing"]),
        ("http:/localhost:8000", "http://localhost:8000", ["scheme_mistyped"]),
        ("http//localhost:8000", "http://localhost:8000", ["scheme_mistyped"]),
        ("htpp://localhost:8000", "http://localhost:8000", ["scheme_mistyped"]),
        ("http:\\\\localhost:8000", "http://localhost:8000", ["scheme_mistyped"]),
        ("HTTPS://Example.org/v1", "https://example.org/v1", []),
        ("ws://localhost:8080", "http://localhost:8080", ["scheme_websocket"]),
        ('"http://localhost:8000/v1" ', "http://localhost:8000/v1", ["stray_characters"]),
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000", ["any_address"]),
        ("http://[::]:8000", "http://[::1]:8000", ["any_address"]),
        ("http://::1:8000/v1", "http://[::1]:8000/v1", ["ipv6_brackets"]),
        ("http://localhost:8000/v1/v1", "http://localhost:8000/v1", ["double_v1"]),
        ("http://localhost:8000//v1", "http://localhost:8000/v1", ["double_slash"]),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1", ["endpoint_in_address"]),
        ("http://localhost:11434/api/tags", "http://localhost:11434", ["endpoint_in_address"]),
        ("http://me:secret@localhost:8000", "http://localhost:8000", ["password_in_address"]),
        ("https://models.example/openai?api-version=1", "https://models.example/openai?api-version=1", []),
    ],
)
def test_addresses_as_people_write_them(written: str, meant: str, codes: list[str]) -> None:
    address = read_address(written)
    assert address.url == meant
    assert [repair.code for repair in address.repairs] == codes


@pytest.mark.parametrize(
    "written", ["", "   ", "http://", "http://:80", "http://a:99999", "ftp://a", "http://a b", "a,b"]
)
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(StepError) as caught:
        read_address(written)
    assert caught.value.code in ("bad_address", "bad_scheme")
    assert caught.value.hint


@given(st.text(max_size=60))
@example("http://[")
@example("http://[::1")
@example("//")
def test_any_text_is_read_or_refused_and_a_repaired_one_stays(text: str) -> None:
    try:
        address = read_address(text)
    except StepError:
        return
    again = read_address(address.url)
    assert again.url == address.url
    assert again.repairs == ()


@given(
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5}){0,2}", fullmatch=True),
    st.integers(1, 65535),
)
def test_a_good_address_is_left_alone(scheme: str, host: str, port: int) -> None:
    address = read_address(f"{scheme}://{host}:{port}/v1")
    assert address.repairs == ()
    assert (address.scheme, address.host, address.port) == (scheme, host, port)
    assert urlsplit(address.url).path == "/v1"


def test_a_slash_at_the_end_is_no_fault() -> None:
    address = read_address("http://localhost:8000/v1/")
    assert check_address(Target("x", ""), address).state is StepState.OK


@pytest.mark.parametrize(
    ("url", "environment", "code"),
    [
        ("http://127.0.0.1:8000", {}, ""),
        ("http://127.0.0.1:8000", {"https_proxy": "http://p:1"}, ""),
        ("http://127.0.0.1:8000", {"HTTP_PROXY": "http://p:1"}, "proxy_catches_local"),
        ("http://127.0.0.1:8000", {"all_proxy": "socks5://p:1"}, "proxy_catches_local"),
        ("https://localhost:8443", {"https_proxy": "http://p:1"}, "proxy_catches_local"),
        ("http://192.168.1.5:8000", {"http_proxy": "http://p:1"}, "proxy_catches_local"),
        ("http://nas.lan:8000", {"http_proxy": "http://p:1"}, "proxy_catches_local"),
        ("http://api.example.org", {"http_proxy": "http://p:1"}, "proxy_used"),
        ("http://127.0.0.1:8000", {"http_proxy": "http://p:1", "no_proxy": "localhost, 127.0.0.1"}, ""),
        ("http://127.0.0.1:8000", {"http_proxy": "http://p:1", "NO_PROXY": "*"}, ""),
        ("http://127.0.0.1:8000", {"http_proxy": "http://p:1", "NO_PROXY": "127.0.0.0/8"}, ""),
        ("http://127.0.0.1:8000", {"http_proxy": "http://p:1", "NO_PROXY": "localhost"}, "proxy_catches_local"),
        ("http://127.0.0.1:8000", {"http_proxy": "http://p:1", "NO_PROXY": "127.0.0.1:9000"}, "proxy_catches_local"),
        ("http://nas.lan:8000", {"http_proxy": "http://p:1", "NO_PROXY": ".lan"}, ""),
        ("http://[::1]:8000", {"http_proxy": "http://p:1", "NO_PROXY": "::1"}, ""),
    ],
)
def test_proxies_of_the_environment(url: str, environment: dict[str, str], code: str) -> None:
    found = check_proxies(read_address(url), environment)
    assert found.code == code
    assert (found.state is StepState.WARN) == (code == "proxy_catches_local")


def test_the_catalogue_is_whole() -> None:
    statuses = [entry.status for entry in catalogue().statuses]
    assert len(set(statuses)) == len(statuses)
    expected = {200, 201, 204, 206, 400, 401, 403, 404, 405, 409, 413, 429, 500, 501, 502, 503, 504}
    assert expected <= set(statuses)
    assert all(entry.fix for entry in catalogue().statuses if entry.status >= 300)
    assert len({entry.title for entry in catalogue().statuses}) == len(statuses)
    codes = [entry.code for entry in catalogue().messages]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, '{"error":{"message":"\\"auto\\" tool choice requires --enable-auto-tool-choice"}}', "tools_off"),
        (400, '{"error":"registry.ollama.ai/library/tiny does not support tools"}', "tools_unsupported"),
        (500, '{"error":{"message":"tools param requires --jinja flag"}}', "tools_need_jinja"),
        (404, '{"error":{"message":"The model `x` does not exist.","code":404}}', "model_unknown"),
        (404, '{"error":"model \\"x\\" not found, try pulling it first"}', "model_unknown"),
        (503, '{"error":{"message":"Loading model","code":503}}', "model_loading"),
        (429, '{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}', "quota_used_up"),
        (401, '{"error":{"message":"Incorrect API key provided"}}', "key_refused"),
        (401, "LiteLLM Virtual Key expected. Received=abc, expected to start with 'sk-'", "key_malformed"),
        (400, '{"error":{"message":"No connected db."}}', "key_refused"),
        (401, '{"error":{"message":"Authentication Error, No api key passed in."}}', "key_not_sent"),
        (401, '{"detail":"Not authenticated"}', "key_not_sent"),
        (500, '{"error":{"message":"litellm: OpenAIException - Connection error."}}', "upstream_down"),
        (500, '{"detail":"WebUI could not connect to Ollama"}', "webui_no_ollama"),
        (500, '{"detail":"Open WebUI: Server Connection Error"}', "webui_no_server"),
        (400, "Invalid host header", "host_not_allowed"),
        (500, '{"error":{"message":"list indices must be integers or slices, not str"}}', "gateway_alias_list"),
        (400, "<center>The plain HTTP request was sent to HTTPS port</center>", "scheme_https"),
        (400, '"Not an accepted origin."', "websocket_origin"),
        (200, "<title>Welcome to nginx!</title>", "front_default_page"),
        (400, '{"detail":[{"msg":"type of tool must be \'function\'"}]}', "tools_wrong_form"),
        (400, '{"error":{"message":"System role not supported"}}', "system_role"),
        (
            400,
            '{"message":"default chat template is no longer allowed, so you must provide a chat template"}',
            "no_chat_template",
        ),
        (400, '{"message":"/models/tiny is not a multimodal model"}', "no_vision"),
        (400, '{"error":"\\"nomic-embed-text\\" does not support chat"}', "embeddings_only"),
        (
            429,
            '{"error":{"message":"No deployments available for selected model, Try again in 5 seconds."}}',
            "no_deployment",
        ),
        (
            401,
            '{"error":{"message":"Authentication Error - Expired Key. Key Expiry time passed; key has expired"}}',
            "key_expired",
        ),
        (
            401,
            '{"error":{"message":"key not allowed to access model. This key can only access models=[\'a\']"}}',
            "key_not_for_model",
        ),
        (429, '{"error":{"message":"Rate limit reached for requests"}}', "rate_limited"),
        (404, '{"detail":"OpenAI API was not found"}', "webui_no_openai"),
        (503, '{"detail":"The Ollama API is disabled"}', "webui_ollama_off"),
        (403, '{"detail":"Use of API key is not enabled in the environment."}', "webui_key_off"),
        (403, '{"detail":"You do not have permission to access this resource."}', "no_permission"),
        (400, '"Invalid websocket upgrade"', "websocket_upgrade_lost"),
        (400, '{"code":1,"message":"Session ID unknown"}', "session_elsewhere"),
        (500, '{"error":"dial tcp: lookup vllm: no such host"}', "upstream_unknown_name"),
        (500, '{"error":"model requires more system memory (5.9 GiB) than is available (3.1 GiB)"}', "out_of_memory"),
        (500, '{"error":"llama runner process has terminated: exit status 2"}', "engine_dead"),
        (
            400,
            '{"error":{"message":"litellm.UnsupportedParamsError: openai does not support parameters"}}',
            "parameter_unknown",
        ),
        (413, "<center><h1>413 Request Entity Too Large</h1></center>", "body_too_large"),
        (422, '{"detail":"JSON decode error"}', "json_expected"),
        (418, "tea", "http_418"),
        (599, "", "http_599"),
        (502, "<h1>502 Bad Gateway</h1>", "http_502"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_error_texts_are_explained(status: int, body: str, code: str) -> None:
    told = explain(status, body)
    assert told.code == code
    assert told.meaning.endswith(".")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "No.", "type": "x"}}', "No."),
        ('{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        ('{"error": "gone"}', "gone"),
        ("<html><style>p {}</style><h1>502  Bad</h1></html>", "502 Bad"),
        ("<title>403 Forbidden</title><h1>403 Forbidden</h1><hr>nginx/1.22", "403 Forbidden"),
        ("plain", "plain"),
        ("[" * 5000, "[" * 199 + "…"),
        ('{"choices": []}', ""),
    ],
)
def test_the_words_of_any_error_body(body: str, words: str) -> None:
    assert words_of(body) == words


@given(st.text(max_size=200), st.integers(100, 599))
def test_any_body_has_an_explanation(body: str, status: int) -> None:
    told = explain(status, body)
    assert told.meaning
    assert "\n" not in told.said


@given(first=st.floats(0.01, 5), gaps=st.lists(st.floats(0.03, 1), min_size=6, max_size=40), token=st.floats(0.01, 5))
def test_a_steady_stream_is_not_held_back(first: float, gaps: list[float], token: float) -> None:
    times = [first]
    for gap in gaps:
        times.append(times[-1] + gap)
    assert not is_held_back(times, token)


@given(token=st.floats(0.01, 3), count=st.integers(4, 60))
def test_a_fast_model_is_not_taken_for_a_buffer(token: float, count: int) -> None:
    assert not is_held_back([token + number * 0.001 for number in range(count)], token)


@given(token=st.floats(0.01, 3), count=st.integers(4, 60), late=st.floats(0.5, 20))
def test_one_heap_long_after_the_first_word_was_ready(token: float, count: int, late: float) -> None:
    assert is_held_back([token * 2 + late] * count, token)


def test_several_heaps() -> None:
    assert is_held_back([1.0] * 20 + [2.0] * 20 + [3.0] * 20, 0.1)


@given(st.integers(1, 50), st.data())
def test_events_are_the_same_however_they_are_cut(count: int, data: st.DataObject) -> None:
    body = (
        b"".join(b"data: %s\n\n" % json.dumps({"n": number}).encode() for number in range(count)) + b"data: [DONE]\n\n"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    stream = Stream()
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        stream.feed(body[start:end], 1.0)
    assert len(stream.times) == count
    assert stream.done
    assert stream.strange == 0


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abcdef123456",
        "Received API Key = sk-1234567890abcdef",
        "http://me:pa55word@host/v1",
        "?api_key=abcdef12345",
        "hf_abcdefghijklmnop",
        '{"token": "abcdef12345"}',
    ],
)
def test_secrets_are_found_by_their_look(secret: str) -> None:
    told = masked(f"It said {secret} and no more.")
    assert HIDDEN in told
    assert not any(part in told for part in ("abcdef", "pa55word", "1234567890"))
    assert told.startswith("It said ")


_SECRET = st.text(string.ascii_letters + string.digits + "-_.~!$", min_size=6, max_size=30)


@given(
    _SECRET.map(lambda text: f"Zz9{text}"),
    st.sampled_from(
        [
            "http://me:{}@host:8000/v1", "http://{}@host/v1", "me:{}@host", "htp:/me:{}@host", "http://me:{}/x@host",
            "https://host/v1?key={}", "https://host/v1?a=1&code={}&api-version=2", "https://host/v1?{}", "http://host#{}",
        ]
    ),
)  # fmt: skip
def test_no_secret_of_an_address_is_told(secret: str, form: str) -> None:
    target = Target("x", form.format(secret))
    told = [target.url]
    try:
        told.append(read_address(target.url).url)
    except StepError as trouble:
        told.append(trouble.sentence)
    for text in told:
        assert secret not in masked(f"Asked {text}.", *target.secrets)


@pytest.mark.parametrize("url", ["https://host/model@main/v1", "http://host:80/a@b", "http://h/v1?api-version=2024-10"])
def test_what_is_no_secret_in_an_address_stays(url: str) -> None:
    assert masked(url, *Target("x", url).secrets) == url


def test_plain_words_stay() -> None:
    text = "The server wants a key, and got none. Use http://127.0.0.1:8000/v1: Bearer is left out."
    assert masked(text, "", "key") == text
