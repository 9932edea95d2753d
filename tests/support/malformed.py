"""Requests that no client should send, made of good ones: everything that a program or an enemy could get wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from hypothesis import strategies as st
from valid_requests import MODEL, PICTURE, Valid

Header = tuple[bytes, bytes]
Place = tuple[Any, Any]
"""Something in a JSON document: what holds it, and its key or index there."""


class Sent(NamedTuple):
    """A request as it goes to a server; `target` is the address as it is written in the request line."""

    method: str
    target: bytes
    headers: list[Header]
    parts: list[bytes]

    def __repr__(self) -> str:
        return f"Sent({self.method} {self.target[:200]!r}, {str(self.headers)[:500]}, {str(self.parts)[:2000]})"

    @property
    def path(self) -> str:
        """The path as a server reads it."""
        return unquote(self.target.partition(b"?")[0].decode("latin-1"))

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)


class Raw(str):
    """Text that stands in a JSON document as it is, whether it is JSON or not."""

    __slots__ = ()


class Twice(NamedTuple):
    """A value that stands there twice, under the same key."""

    first: Any
    second: Any


def _nested(depth: int) -> str:
    return '{"a":[' * depth + "]}" * depth


_RAW = tuple(
    map(
        Raw,
        (
            # As deep as can just be read, and a little less: what reads it again is deeper in its own calls.
            *map(_nested, (100, 400, 430, 450, 460, 470, 480)),
            "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "-0", "0.1e-999", "01", "+1", ".5", "1.",
            "'a'", "undefined", "nul", "tru", '"\\x"', '"\\u12"', '"\\ud800"', '"\\udfff\\ud800"', '"a\nb"', '"\0"',
            '"\\u0000"', "[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "[" * 200_000, "[1,]", "{,}",
            '{"a"}', "/* a */ 1", "", "\ufeff1", "[" + "0," * 20_000 + "0]", "[" + "{}," * 3_000 + "{}]",
            '{"a":1,"a":2}', '"' + "x" * 70_000 + '"', '{"' + "k" * 70_000 + '":1}',
        ),
    )
)  # fmt: skip
_ADDRESSES = (
    "http://127.0.0.1:9/a.png", "http://localhost/a", "http://[::1]/a", "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/", "http://192.168.0.1/a", "http://0/", "http://2130706433/", "http://0x7f.1/", "http://127.1/",
    "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://user:word@127.0.0.1/", "https://127.0.0.1:9/",
    "file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1:9/_a", "javascript:alert(1)", "//127.0.0.1/a",
    "http://", "http://[", "http://a:99999/", "http://a\r\nHost: b/", "http://%00/", "http://\udcff/", "blob:a",
    "HTTP://127.0.0.1", "http://127.0.0.1:9\\@example.org/", "http://xn--/", "http://" + "a" * 300 + "/",
    "data:", "data:,", "data:;base64,", "data:image/png;base64,!!!!", "data:image/png;base64,AAA", "data:text/html,<b>",
    "data:image/png;base64," + "A" * 50_000, "data:image/svg+xml;base64,PHN2Zy8+", "data:image/png,%zz",
    "data:IMAGE/PNG;BASE64," + PICTURE[22:], "data:image/png;charset=x;base64," + PICTURE[22:], PICTURE[:60],
    "data:image/gif;base64,R0lGODlh//////////8AAAAsAAAAAP////8AAAI=", "data:application/pdf;base64,JVBERi0=",
    "data:image/bmp;base64,Qk0eAAAAAAAAABoAAAAMAAAA//////8BABgA",
)  # fmt: skip
_TEXTS = (
    "", " ", "\0", "\r\n", "a\r\nX-Evil: 1\r\n\r\n", "\ud800", "é", "\u2028", "🙂", "\x7f", "%0d%0aX-Evil:%201", "%",
    "../../etc/passwd", "..\\..\\a", "/etc/passwd", "*", "a" * 5000, "null", "true", "0", "-1", "{{ 7 * 7 }}",
    "${jndi:x}",
    "%s%n", "' or 1=1 --", "<script>", "data: [DONE]\n\n", "\u202e", "model", "system", "user", "assistant", "tool",
    "developer",
    "function", "text", "image_url", "image", "tool_use", "tool_result", "json_schema", "message", "reasoning",
    "function_call",
    "input_image", "enabled", "required", "auto", "none", "any", "url", "base64", "document", "5m", "-5h", "1e999s",
    "high",
)  # fmt: skip
_PLAIN = (
    None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, [], {}, [None],
    [[]], [{}], {"": None}, [1, "a", None, {}], {"type": "text"}, {"type": ["text"]}, {"type": {}}, {"role": []},
    {"name": 5}, {"function": "f"}, {"function": {"name": "f", "arguments": []}}, {"url": None}, {"image_url": []},
    [{"type": "function"}], [{"type": "function", "function": {"name": "x" * 300}}], [{"text": 5}], ["a", 5],
)  # fmt: skip

junk: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(_RAW),
    st.sampled_from(_ADDRESSES),
    st.sampled_from(_TEXTS),
    st.sampled_from(_PLAIN).map(copy.deepcopy),
    st.text(st.characters(codec=None), max_size=20),
    st.integers(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
)
"""Values for any place of a request."""

_STRANGE_HEADERS: tuple[Header, ...] = (
    (b"accept-encoding", b"br;q=nan"),
    (b"accept", b"text/html"), (b"accept", b"\xff"), (b"accept", b"application/openmetrics-text; version=9"),
    (b"authorization", b"Bearer"), (b"authorization", b"Bearer \xff\xfe"), (b"authorization", b"Basic YTpi"),
    (b"authorization", b"Bearer " + b"x" * 5000), (b"x-api-key", b"\xe9"), (b"x-api-key", b" "),
    (b"content-encoding", b"gzip"), (b"content-language", b"\xff"), (b"cookie", b"a=b; c"), (b"expect", b"maybe"),
    (b"x-quarterdeck-force", b"true"), (b"x-quarterdeck-force", b"\xff"), (b"x-quarterdeck-profile", b"default"),
    (b"x-quarterdeck-profile", b"nothing"), (b"x-quarterdeck-profile", b"\xff"), (b"x-forwarded-for", b"1.2.3.4"),
    (b"x-forwarded-for", b"127.0.0.1, \xff"), (b"forwarded", b"for=1.2.3.4"), (b"x-forwarded-host", b"evil.example"),
    (b"origin", b"null"), (b"origin", b"http://["), (b"origin", b"\xff"), (b"origin", b"http://evil.example"),
    (b"referer", b"\xff"), (b"last-event-id", b"9" * 50), (b"traceparent", b"00-zz-zz-01"), (b"range", b"bytes=9-1"),
    (b"if-none-match", b"\xff"), (b"user-agent", b""), (b"x-http-method-override", b"DELETE"),
    (b"host", b"evil.example"),
    (b"anthropic-version", b"0"), (b"x-" + b"a" * 200, b"b" * 5000), (b"content-length", b"5"),
)  # fmt: skip
_CONTENT_TYPES = (
    b"", b"text/plain", b"application/json; charset=utf-16", b"application/json\xff", b"multipart/form-data",
    b"multipart/form-data; boundary=", b'multipart/form-data; boundary="', b"multipart/form-data; boundary=0f3b",
    b"MULTIPART/FORM-DATA; BOUNDARY=0f3b", b"multipart/form-data; boundary=0f3b; boundary=x",
    b"multipart/mixed; boundary=0f3b",
    b"application/x-www-form-urlencoded", b"a/b;" + b"c=d;" * 500, b"\xe9", b"json", b"application/x-ndjson",
)  # fmt: skip
_METHODS = ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "POST", "BREW", "PROPFIND")
_PATH_BITS = (
    b"/", b"//", b"/..", b"/%2e%2e", b"/.", b"%00", b"/%0d%0aX-Evil:%201", b"%ff", b"%", b"%zz", b"%2f", b";a=b",
    b"?", b"?a=%ff&a",
    b"?" + b"a=b&" * 1000, b"#a", b"\\", b"/" + b"a" * 9000, b"%e2%80%ae", b"%ed%a0%80", b"/../../api/keys",
    b"/%2e%2e/%2e%2e/api/models",
    b"?topics=%00", b"*", b"@", b":", b"%c0%ae%c0%ae/", b"/api/settings", b"/v1/models",
)  # fmt: skip
_BYTES = (
    b"", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\0", b"{", b"}", b"[",
    b'"', b",", b"\\", b"NaN", b"--0f3b",
    b"--0f3b--", b"\r\n\r\n", b"\r\n", b'Content-Disposition: form-data; name="model"', b'name*=utf-8\'\'model',
    b"\xf0\x9f\x99",
)  # fmt: skip


def requests(valid: Sequence[Valid], models: Sequence[str], *, heads: bool = True) -> st.SearchStrategy[Sent]:
    """Requests of which at least one thing is not as it should be; with `heads` also their addresses and headers."""
    kinds = [{"fields": True}] * 4 + [{"body": True}] * 2
    if heads:
        kinds += [{"head": True}, {"fields": True, "body": True, "head": True}]
    return st.one_of([_mutated(valid, models, **kind) for kind in kinds])


@st.composite
def _mutated(
    draw: st.DrawFn,
    valid: Sequence[Valid],
    models: Sequence[str],
    *,
    fields: bool = False,
    body: bool = False,
    head: bool = False,
) -> Sent:
    base = draw(st.sampled_from(valid))
    model = draw(st.sampled_from(models))
    document = base.fields
    if fields and document is not None:
        document = {"": json.loads(json.dumps(document))}
        for _ in range(draw(st.integers(1, 3))):
            _spoil(draw, document)
        document = document.get("", {})
    text = base.form or (b"" if document is None else written(document).encode("utf-8", "surrogatepass"))
    text = text.replace(MODEL.encode(), model.encode())
    if body or (fields and base.form):
        text = _spoilt_bytes(draw, text)
    sent = Sent(
        base.method, base.path.replace(MODEL, model).encode(), [(b"content-type", base.content_type.encode())], []
    )
    if head:
        sent = _spoilt_head(draw, sent)
    cut = draw(st.integers(0, len(text))) if draw(st.booleans()) else 0
    return sent._replace(parts=[text[:cut], text[cut:]] if cut else [text])


def _spoil(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Change one place of a document in one way."""
    places = list(_places(document))
    if not places:
        return
    holder, key = draw(st.sampled_from(places))
    change: Callable[..., None] = draw(st.sampled_from((_replace, _replace, _replace, _remove, _rename, _double, _add)))
    change(draw, holder, key)


def _places(value: Any) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _replace(draw: st.DrawFn, holder: Any, key: Any) -> None:
    holder[key] = draw(junk)


def _remove(_draw: st.DrawFn, holder: Any, key: Any) -> None:
    del holder[key]


def _rename(draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder, dict) and key:
        holder[draw(st.one_of(st.just(key.upper()), st.just(f"{key}\0"), st.sampled_from(_TEXTS)))] = holder.pop(key)


def _double(draw: st.DrawFn, holder: Any, key: Any) -> None:
    holder[key] = Twice(holder[key], draw(junk)) if isinstance(holder, dict) and key else [holder[key]] * 6


def _add(draw: st.DrawFn, holder: Any, key: Any) -> None:
    inside = holder[key]
    if isinstance(inside, dict):
        inside[draw(st.sampled_from(_TEXTS) | st.text(max_size=8))] = draw(junk)
    elif isinstance(inside, list):
        inside.insert(0, draw(junk))
    else:
        holder[key] = [inside]


def written(value: Any) -> str:
    """A document as text, with whatever stands in it that is no JSON."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(_pair(json.dumps(key), inner) for key, inner in value.items()) + "}"
    if isinstance(value, Twice):
        return f"[{written(value.first)},{written(value.second)}]"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def _pair(key: str, value: Any) -> str:
    if isinstance(value, Twice):
        return f"{key}:{written(value.first)},{key}:{written(value.second)}"
    return f"{key}:{written(value)}"


def _spoilt_bytes(draw: st.DrawFn, text: bytes) -> bytes:
    kind = draw(st.sampled_from(("cut", "insert", "insert", "swap", "encode", "empty", "repeat", "before", "noise")))
    at = draw(st.integers(0, len(text)))
    match kind:
        case "cut":
            return text[:at]
        case "insert":
            return text[:at] + draw(st.sampled_from(_BYTES) | st.binary(max_size=4)) + text[at:]
        case "swap":
            return text[:at] + draw(st.binary(min_size=1, max_size=3)) + text[at + 1 :]
        case "encode":
            codec = draw(st.sampled_from(("utf-16", "utf-32", "utf-16-le", "utf-8-sig", "cp037")))
            return text.decode("utf-8", "replace").encode(codec, "replace")
        case "empty":
            return b""
        case "repeat":
            return text * 2
        case "before":
            return draw(st.sampled_from(_BYTES)) + text
    return draw(st.binary(max_size=200))


def _spoilt_head(draw: st.DrawFn, sent: Sent) -> Sent:
    kinds = draw(st.sets(st.sampled_from(("method", "path", "type", "headers")), min_size=1))
    method = draw(st.sampled_from(_METHODS)) if "method" in kinds else sent.method
    target, headers = sent.target, list(sent.headers)
    if "path" in kinds:
        at = draw(st.integers(1, len(target)))
        target = target[:at] + draw(st.sampled_from(_PATH_BITS)) + (b"" if draw(st.booleans()) else target[at:])
    if "type" in kinds:
        headers = [(b"content-type", each) for each in draw(st.lists(st.sampled_from(_CONTENT_TYPES), max_size=2))]
    if "headers" in kinds:
        headers += draw(st.lists(st.sampled_from(_STRANGE_HEADERS), min_size=1, max_size=4))
    return Sent(method, target, headers, sent.parts)
