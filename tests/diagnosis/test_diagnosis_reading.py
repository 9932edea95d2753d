"""A log of any size and shape is read in one pass: blocks, encodings, control characters, repetition, endings."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.diagnosis import matcher
from quarterdeck.diagnosis.matching.index import Index
from quarterdeck.diagnosis.matching.lines import LONGEST, bare
from quarterdeck.diagnosis.matching.reading import BLOCK, MOST_WRITERS, Reading
from quarterdeck.diagnosis.matching.service import speaks_for
from quarterdeck.diagnosis.rules import parse_rules
from quarterdeck.schemas.diagnosis import Diagnosis

PROOF = "hull breach on deck 7"


def rule(name: str, *lines: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "class": fields.pop("class_", "other"),
        "kind": "hardware",
        "lines": list(lines),
        "title": name.capitalize(),
        "sentence": f"It is {name}.",
        "hint": "Repair it.",
        **fields,
    }


def index(*rules: dict[str, Any], **lists: Any) -> Index:
    return Index([parse_rules("ship.yaml", yaml.safe_dump({"family": "ship", "rules": list(rules), **lists}))])


SHIP = index(rule("breach", r"hull breach on deck (?P<deck>\d+)", remedies=[{"title": "Seal deck {deck}"}]))


def told(log: str, ship: Index = SHIP, service: str = "") -> Diagnosis:
    return matcher.diagnose_log([log], service, index=ship)


def proofs(found: Diagnosis) -> list[int]:
    return [evidence.line for evidence in found.evidence]


@pytest.mark.parametrize(
    "log",
    [
        f"calm\n{PROOF}\ncalm\n",
        f"calm\r\n{PROOF}\r\ncalm\r\n",
        f"calm\n{PROOF}",
        f"calm\n\x1b[1;31m{PROOF}\x1b[0m\n",
        f"calm\n\x1b]0;title\x07{PROOF}",
        "calm\nhull\x1b[0m breach on deck 7",
        f"calm\nloading 10%\rloading 20%\r{PROOF}\rloading 30%\n",
        f"calm\n\0\0{PROOF}\0\n",
        f"calm\n{PROOF.upper()}\n",
        f"calm\n{PROOF}{' and more' * 2000}\n",
        f"calm\n{'more and ' * 2000}{PROOF}\n",
        f"İİİ\n{PROOF}\nİ\n",
        f"calm\n[rank0]: {PROOF}",
    ],
)
def test_whatever_surrounds_it_the_line_is_found_at_its_place(log: str) -> None:
    found = told(log)
    assert (found.kind, proofs(found)) == ("failure", [2])
    assert found.remedies[0].title == "Seal deck 7"
    assert "\x1b" not in found.evidence[0].text


@pytest.mark.parametrize(
    "log",
    [
        "",
        "calm\nhull breach\non deck 7\n",
        f"template: {{% if x %}}{PROOF}{{% endif %}}",
        f"INFO Received request 1: prompt: '{PROOF}'",
        f'Traceback (most recent call last):\n  File "ship.py", line 3, in fly\n    raise Alarm("{PROOF}")\nAlarm\n1',
        "x" * (LONGEST * 2) + PROOF + "x" * (LONGEST * 2),
    ],
)
def test_words_that_prove_nothing(log: str) -> None:
    assert told(log + "\nall is well").kind == "healthy"


def test_a_log_that_was_cut_off_at_a_source_line() -> None:
    log = f'Traceback (most recent call last):\n  File "ship.py", line 3, in fly\n    raise Alarm("{PROOF}")\n\n'
    assert proofs(told(log)) == [3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-sig"])
def test_encodings(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher, "shipped", lambda: SHIP)
    text = f"grüße\n{PROOF}\n"
    data = b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-sig" else text.encode(encoding)
    assert proofs(matcher.diagnose_stream(io.BytesIO(data))) == [2]


def test_broken_bytes_are_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher, "shipped", lambda: SHIP)
    assert proofs(matcher.diagnose_stream(io.BytesIO(b"\xff\x00\xc3\n" + PROOF.encode() + b"\xf0\x9f"))) == [2]


@given(data=st.data(), before=st.integers(0, 40), text=st.text(alphabet="ab \r\0é", max_size=60))
def test_it_does_not_matter_how_a_log_is_cut_into_pieces(data: st.DataObject, before: int, text: str) -> None:
    log = "\n".join([*["calm " + text] * before, PROOF, "calm"])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=5)))
    reading = Reading(SHIP)
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        reading.feed(log[start:end])
    reading.close()
    hit = reading.first(r"hull breach on deck (?P<deck>\d+)")
    assert hit is not None
    assert (hit.number, hit.line, reading.lines) == (before + 1, PROOF, before + 2)


class Endless(io.RawIOBase):
    """A stream of so many bytes that is not kept anywhere."""

    def __init__(self, size: int, line: bytes) -> None:
        self._left, self._line = size, line

    def read(self, size: int = -1, /) -> bytes:
        data = (self._line * (size // len(self._line) + 1))[: min(size, self._left)]
        self._left -= len(data)
        return data


@pytest.mark.parametrize("line", [b"calm and quiet\n", b"x", b"hull breach is near\n"])
def test_memory_does_not_grow_with_the_log(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher, "shipped", lambda: SHIP)

    def peak(blocks: int) -> int:
        tracemalloc.start()
        matcher.diagnose_stream(Endless(blocks * BLOCK, line))  # type: ignore[arg-type]
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(24) < peak(6) * 1.5


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher, "shipped", lambda: SHIP)
    told: list[int] = []
    matcher.diagnose_stream(io.BytesIO(b"calm\n" * BLOCK), on_read=told.append)
    assert told == [BLOCK * (number + 1) for number in range(5)]


ORDER = index(
    rule("root", "hull breach", rank=80, class_="cuda_oom"),
    rule("later", "engine stopped", rank=80, class_="assertion_failed"),
    rule("generic", "ship is lost", rank=20, class_="port_in_use", confidence=0.8),
    rule("noise", "radio silence", rank=10, class_="port_in_use"),
)


def test_the_root_stands_above_what_follows_from_it() -> None:
    found = told("radio silence\nship is lost\nhull breach\nengine stopped", ORDER)
    assert found.failure_class == "cuda_oom"
    assert [other.failure_class for other in found.others] == ["assertion_failed", "port_in_use"]
    assert found.others[1].confidence == pytest.approx(0.2)


CONDITIONS = index(
    rule("breach", "hull breach", needs=["deck (?P<deck>\\d+)"], unless=["just a drill"], sentence="On {deck}."),
    rule("cold", "engine is cold", until_ready=True),
    rule("refused", "order refused", fatal=False),
    rule("vulcan", "illogical", services=["vulcan.py"]),
    rule("speed", "too fast", reads=["warp (?P<warp>\\d+)"], remedies=[{"title": "Set warp {warp:minus1}"}]),
    benign=["(?:drill|warp): hull breach|warp \\d"],
    ready=["ship is ready"],
    answered=["order carried out"],
)


@pytest.mark.parametrize(
    ("log", "title"),
    [
        ("hull breach\ndeck 4", "Breach"),
        ("hull breach", "No failure found"),
        ("hull breach\ndeck 4\njust a drill", "No failure found"),
        ("drill: hull breach\ndeck 4", "No failure found"),
        ("drill: hull breach\ndeck 4\nhull breach", "Breach"),
        ("engine is cold", "Cold"),
        ("ship is ready\nengine is cold", "Cold"),
        ("engine is cold\nship is ready", "No failure found"),
        ("engine is cold\nship is ready\nengine is cold", "Cold"),
        ("engine is cold\nship is ready\nengine is cold\nship is ready", "No failure found"),
        ("order refused", "Refused"),
        ("order carried out\norder refused", "Refused"),
        ("order refused\norder carried out\norder refused", "No failure found"),
        ("that is illogical", "Vulcan"),
        ("the log is\n\n", "No failure found"),
        (" \n\n", "The log is empty"),
    ],
)
def test_conditions(log: str, title: str) -> None:
    assert told(log, CONDITIONS).title == title


def test_what_stands_on_other_lines_is_named_and_shown() -> None:
    found = told("calm\nhull breach\ndeck 4", CONDITIONS)
    assert (found.why, proofs(found)) == ("On 4.", [2, 3])


def test_numbers_are_read_from_harmless_lines_too() -> None:
    assert told("warp 9\ntoo fast", CONDITIONS).remedies[0].title == "Set warp 8"
    assert told("too fast", CONDITIONS).remedies[0].title == "Repair it."


@pytest.mark.parametrize(
    ("service", "holds"), [("", True), ("Vulcan PY", True), ("klingon/vulcan.py", True), ("klingon", False)]
)
def test_a_rule_may_be_for_one_service_only(service: str, holds: bool) -> None:
    assert (told("illogical", CONDITIONS, service).kind == "failure") is holds


@pytest.mark.parametrize(
    ("wanted", "service", "speaks"),
    [
        ([], "vllm", True),
        (["vllm"], "", True),
        (["llama.cpp"], "llama-server", True),
        (["llamacpp"], "ollama", True),
        (["ollama"], "llama.cpp", False),
        (["wsl"], "host driver / wsl", True),
        (["exllama"], "exllamav2/tabbyapi", True),
        (["vllm"], "sglang", False),
    ],
)
def test_services_are_known_by_many_names(wanted: list[str], service: str, speaks: bool) -> None:
    assert speaks_for(wanted, service) is speaks


UNKNOWN_FAILURES = [
    "Traceback (most recent call last):\n  File 'a.py', line 1\nship.errors.WarpError: no more dilithium",
    "ValueError: no more dilithium",
    "2026-01-02 10:00:00,123 ERROR [warp.py:12] no more dilithium\nINFO:     Shutting down",
    'time=2026-01-02T10:00:00Z level=ERROR source=warp.go:3 msg="no more dilithium"',
    "fatal: no more dilithium",
    "panic: no more dilithium",
    "Segmentation fault (core dumped)",
    "ship exited with code 3",
    '{"error":{"message":"no more dilithium"}}',
    "Error code: 500 - {'error': 'no more dilithium'}",
]
NO_FAILURES = [
    "WARNING: no more dilithium, error rate unknown",
    "UserWarning: no more dilithium",
    "INFO error handler installed",
    "ship exited with code 0",
    "ERROR no dilithium\nship is ready\nflying",
    'POST /fly 500\n"error": ""',
]


@pytest.mark.parametrize("log", UNKNOWN_FAILURES)
def test_a_plain_failure_of_an_unknown_kind(log: str) -> None:
    found = told("starting\n" + log, CONDITIONS)
    assert (found.kind, found.failure_class) == ("failure", "other")
    assert found.confidence < 0.5
    assert found.remedies
    assert found.evidence[0].text.split("msg=")[-1] in log


@pytest.mark.parametrize("log", NO_FAILURES)
def test_what_only_sounds_like_a_failure(log: str) -> None:
    assert told("starting\n" + log, CONDITIONS).kind == "healthy"


@pytest.mark.parametrize("log", UNKNOWN_FAILURES)
def test_a_failure_long_ago_or_in_a_server_that_answers_is_no_ending(log: str) -> None:
    assert told(f"{log}\n" + "flying on\n" * 50, CONDITIONS).kind == "healthy"
    assert told(f"order carried out\n{log}", CONDITIONS).kind == "healthy"


PREFIXES = [
    "2026-11-21 10:11:12,345 ",
    "2026-11-21T10:11:12.345678Z ",
    "[2026-11-21 10:11:12 TP0] ",
    "INFO 11-21 10:11:12 [core.py:58] ",
    "ERROR 11-21 10:11:12 core.py:210] ",
    "(EngineCore_DP0 pid=123) ERROR 11-21 10:11:12 [core.py:708] ",
    "(VllmWorker rank=1 pid=9) ",
    "[rank0]: ",
    "Nov 21 10:11:12 box ollama[123]: ",
    "vllm-1  | ",
    "INFO:     ",
    "time=2026-11-21T10:11:12.123+01:00 level=ERROR source=server.go:12 ",
    "2026-11-21T10:11:12.3Z stderr F ",
    "0.00.003.686 E ",
    "10:11:12 - ",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_message_of_a_line(prefix: str) -> None:
    assert bare(prefix + "Hull breach") == "Hull breach"
    anchored = index(rule("breach", "^hull breach"))
    assert told(f"{prefix}Hull breach", anchored).title == "Breach"
    assert told(f"{prefix}no Hull breach", anchored).title != "Breach"


@pytest.mark.parametrize("line", ["Hull breach: 3", "error: no hull", "a.b.Error: x", "llama_model_load: error"])
def test_a_message_is_left_whole(line: str) -> None:
    assert bare(line) == line


def test_a_storm_of_repetitions_is_read_but_once() -> None:
    def storm() -> Iterator[str]:
        for number in range(50_000):
            yield f"hull breach on deck {number}"

    assert proofs(matcher.diagnose_log(storm(), index=SHIP)) == [1]


def test_a_line_that_told_nothing_is_looked_at_again_once_it_could() -> None:
    ship = index(
        rule("burst", "boiler burst", until_ready=True),
        rule("melted", r"melted at \d+"),
        ready=["engines are running"],
    )
    # It has words of a pattern that it does not match, so that it is looked at whether readiness matters or not.
    running = "engines are running, nothing melted at all\n"
    assert told(f"boiler burst\n{running * 3}boiler burst\n", ship).title == "Burst"
    assert told(f"boiler burst\n{running * 3}boiler burst\n{running}", ship).kind == "healthy"


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("ship-1   | boiler burst\nharbour-1 | engines are running\n", "failure"),
        ("ship-1   | boiler burst\nship-1   | engines are running\n", "healthy"),
        ("ship-1   | boiler burst\nharbour-1 | engines are running\nship-1   | engines are running\n", "healthy"),
        ("ship-1   | fare refused\nharbour-1 | fare taken\n", "failure"),
        ("ship-1   | fare refused\nharbour-1 | fare taken\nship-1   | fare taken\n", "healthy"),
        ("ERROR    | boiler burst\nINFO     | engines are running\n", "healthy"),
        ("error    | boiler burst\ninfo     | engines are running\n", "healthy"),
    ],
)
def test_of_several_containers_each_speaks_for_itself(log: str, kind: str) -> None:
    ship = index(
        rule("burst", "boiler burst", until_ready=True),
        rule("refused", "fare refused", fatal=False),
        ready=["engines are running"],
        answered=["fare taken"],
    )
    assert told(log, ship).kind == kind


@pytest.mark.parametrize(
    "line",
    [
        '{"id":"1","object":"chat.completion","choices":[{"message":{"content":"hull breach on deck 7"}}]}',
        '{"choices":[{"index":0,"message":{"role":"assistant","content":"hull breach on deck 7"}}]}',
        'data: {"choices":[{"delta":{"content":"hull breach on deck 7"}}]}',
        '{"model":"m","created_at":"2026-11-21T10:00:00Z","response":"hull breach on deck 7","done":false}',
        '{"model":"m","created_at":"2026-11-21T10:00:00Z","message":{"content":"hull breach on deck 7"}}',
    ],
)
def test_what_a_model_answers_proves_nothing(line: str) -> None:
    assert told(f"{line}\n").kind == "healthy"
    assert told(f'{{"error":{{"message":"{PROOF}"}}}}\n').kind == "failure"


def test_containers_beyond_a_number_count_as_one() -> None:
    ship = index(rule("burst", "boiler burst", until_ready=True), ready=["engines are running"])
    fleet = "".join(f"ship-{number} | engines are running\n" for number in range(MOST_WRITERS))
    assert told(f"{fleet}late-1 | boiler burst\nship-1 | engines are running\n", ship).kind == "failure"
    assert told(f"{fleet}late-1 | boiler burst\nlate-2 | engines are running\n", ship).kind == "healthy"
