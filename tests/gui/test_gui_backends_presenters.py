"""What the Backends page, the queue and the scan say, without Qt."""

from __future__ import annotations

import pytest
from fake_core import make_model
from fake_diagnosis import make_problem

from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.backends import BADGES, backend_card, caution, summary
from quarterdeck.gui.presenters.engines import engine_title
from quarterdeck.gui.presenters.problems import cause_words
from quarterdeck.gui.presenters.queue import heading, queue_lines
from quarterdeck.gui.presenters.scan import scan_sections, scan_summary
from quarterdeck.gui.presenters.servers import FIND_OUT, OWNERS, missing, server_choices, server_request
from quarterdeck.schemas.backends import BackendKind, BackendState, BackendView, Owner, OwnerKind, ServerPreset
from quarterdeck.schemas.discovery import FoundServer, PassedOver, ScanResult
from quarterdeck.schemas.system import QueueEntry

GIB = 1024**3


def view(**fields: object) -> BackendView:
    return BackendView.model_validate({"name": "b", "title": "llama.cpp", "state": "running"} | fields)


def test_every_state_has_its_own_word_and_says_what_it_means() -> None:
    assert set(BADGES) == set(BackendState)
    assert len({badge.word for badge in BADGES.values()}) == len(BackendState)
    assert BADGES[BackendState.UNKNOWN].word == "Not validated"
    assert all(badge.meaning for badge in BADGES.values())


@pytest.mark.parametrize(
    ("actions", "verbs"),
    [([], []), (["start"], ["Start"]), (["stop", "restart"], ["Restart", "Stop"]), (["remove"], ["Remove…"])],
)
def test_the_buttons_are_the_actions_that_the_core_names(actions: list[str], verbs: list[str]) -> None:
    assert [action.verb for action in backend_card(view(actions=actions)).actions] == verbs


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (Owner(), ""),
        (Owner(kind=OwnerKind.SYSTEMD, name="ollama.service"), "systemd unit ollama.service"),
        (Owner(kind=OwnerKind.DOCKER, name="vllm"), "container vllm"),
        (Owner(kind=OwnerKind.OTHER), "started by somebody else"),
    ],
)
def test_a_card_says_whose_the_server_is(owner: Owner, words: str) -> None:
    assert backend_card(view(owner=owner)).owner == words


def test_one_model_has_the_facts_of_the_backend_and_several_have_their_own() -> None:
    one = {"model": "a", "pid": 1, "command": "serve a", "uptime_s": 7300, "asleep": True, "alarm": "Nothing resident."}
    single = backend_card(view(pid=1, address="http://x", command="serve a", uptime_s=7300, instances=[one]), since=60)
    assert dict(single.facts) == {"Address": "http://x", "Process": "1"}
    server = view(pid=7, uptime_s=61, memory_bytes=GIB, instances=[one])
    assert dict(backend_card(server).facts) == {"Process": "7", "Memory": "1.0 GiB", "Up for": "1 min"}
    assert single.command == "serve a"
    line = single.instances[0]
    assert (line.state, line.vram, line.uptime, line.alarm) == ("Sleeping", "n/a", "2 h 2 min", "Nothing resident.")
    assert line.command == ""  # it stands below the facts
    several = backend_card(view(pid=1, address="http://x", command="serve a", instances=[one, {"model": "b"}]))
    assert several.facts == ()
    assert several.command == ""
    assert [line.state for line in several.instances] == ["Sleeping", "Idle"]


def test_many_models_of_a_server_are_counted() -> None:
    card = backend_card(view(models=[f"model-{n}" for n in range(40)]))
    assert card.models == "40 models: model-0, model-1, model-2 and 37 more"
    assert card.models_tip.endswith("model-39")
    assert backend_card(view()).models == "No model is loaded"


def test_the_cause_stands_for_the_last_line_of_a_log() -> None:
    dead = view(last_error="gs     0x0")
    assert backend_card(dead).error == "gs     0x0"
    assert backend_card(dead, cause="The engine crashed.").error == "The engine crashed."
    assert backend_card(view(), cause="The engine crashed.").error == ""
    silent = view(last_error="refused", detail="It does not answer.")
    assert backend_card(silent, cause="It does not answer.").error == "refused"
    crashed = make_problem("dead", failure_class="gpu_crash", why="The engine crashed.")
    assert cause_words([make_problem("tools"), crashed]) == "The engine crashed."
    assert cause_words([make_problem("tools")]) == ""


def test_the_kind_is_told_where_the_title_is_another() -> None:
    card = backend_card(view(name="vllm-8001", title="Workshop", kind="vllm"))
    assert dict(card.facts)["Kind"] == "vLLM"
    assert "Kind" not in dict(backend_card(view(name="vllm", title="vLLM", kind="vllm")).facts)


def test_a_question_says_what_is_lost() -> None:
    busy = view(instances=[{"model": "qwen3-8b", "active_requests": 2}])
    question = caution(busy, "stop")
    assert question is not None
    assert question.title == "Stop llama.cpp?"
    assert question.text == "It is at work: 2 answers end early. qwen3-8b is unloaded."
    again = caution(busy, "restart")
    assert again is not None
    assert "loaded again when asked for" in again.text
    foreign = caution(view(owner={"kind": "docker", "name": "vllm"}), "stop")
    assert foreign is not None
    assert foreign.text == "It is the container vllm: other programs may be using it too."
    removal = caution(view(), "remove")
    assert removal is not None
    assert removal.verb == "Remove"


def test_nothing_is_asked_where_nothing_is_lost() -> None:
    assert caution(view(), "stop") is None
    assert caution(view(), "start") is None
    assert caution(view(owner={"kind": "systemd", "name": "x"}), "start") is None


def test_the_summary_counts_what_answers() -> None:
    views = [view(), view(state="defect"), view(state="switching"), view(state="stopped"), view(state="unknown")]
    assert summary(views) == "3 of 5 running"
    assert summary([]) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "under 1 min"), (61, "1 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_uptimes(seconds: float, words: str) -> None:
    assert text.uptime(seconds) == words


def test_a_model_is_named_after_the_server_that_has_it() -> None:
    backends = {
        "openai-compatible": view(name="openai-compatible", title="OpenAI-compatible server"),
        "lm": view(name="lm", title="LM Studio", address="http://127.0.0.1:1234/v1"),
    }
    model = make_model("m", backend="openai-compatible", url="http://localhost:1234", path=None)
    assert engine_title(model, backends) == "LM Studio"
    far = make_model("m", backend="openai-compatible", url="https://api.example.com/v1", path=None)
    assert engine_title(far, backends) == "OpenAI-compatible server at api.example.com"
    assert engine_title(make_model("m", backend="vllm"), {}) == "vLLM"


class TestQueue:
    entries = (
        QueueEntry(model="b", position=1, waiting_s=4, why="Waits until “a” is loaded.", waiters=3, expected_s=31.5),
        QueueEntry(model="a", position=0, waiting_s=12.4, expected_s=20.0),
    )

    def test_lines_are_in_order_and_time_goes_on(self) -> None:
        first, second = queue_lines(self.entries, since=2.0)
        assert (first.place, first.model, first.loading) == ("", "a", True)
        assert first.words == "Loading · 14 s · ready in about 18 s"
        assert second.place == "1."
        assert second.words == "Waiting for 6 s · ready in about 30 s · 3 requests · Waits until “a” is loaded"

    def test_a_load_that_takes_longer_than_usual(self) -> None:
        assert queue_lines(self.entries, since=40)[0].words.endswith("ready any moment")

    def test_the_heading_counts(self) -> None:
        assert heading(self.entries) == "1 load under way, 1 waiting"
        assert heading(self.entries[:1]) == "1 waiting"


class TestScan:
    def test_a_scan_that_found_nothing(self) -> None:
        assert scan_summary(ScanResult()) == "Scan finished: no new models; no server answers."
        assert scan_sections(ScanResult()) == []

    def test_everything_has_a_section(self) -> None:
        found = ScanResult(
            added=["a"], changed=["b"], gone=["c"], passed_over=[PassedOver(where="/x", reason="Broken.")],
            servers=[FoundServer(url="http://x", product="ollama", title="Ollama", state="down")],
        )  # fmt: skip
        assert scan_summary(found) == (
            "Scan finished: 1 new model, 1 changed, 1 gone; no server answers. 1 item was passed over."
        )
        assert [heading for heading, _ in scan_sections(found)] == ["New", "Changed", "Gone", "Servers", "Passed over"]
        assert dict(scan_sections(found))["Servers"] == ["Ollama at http://x does not answer."]


class TestServers:
    def test_products_come_before_engines_and_none_twice(self) -> None:
        preset = ServerPreset(name="vllm", title="vLLM", url="http://127.0.0.1:8000", kind=BackendKind.VLLM)
        titles = [choice.title for choice in server_choices([preset])]
        assert titles[:2] == [FIND_OUT.title, "vLLM"]
        assert titles.count("vLLM") == 1

    def test_what_is_missing_is_said(self) -> None:
        assert missing(" ", OWNERS[0], "") == "Give the address of the server first."
        assert missing("http://x", OWNERS[2], " ") == "Name the container first."
        assert missing("http://x", OWNERS[0], "") == ""

    def test_blank_fields_are_left_out(self) -> None:
        request = server_request(url=" host:1 ", name=" ", choice=FIND_OUT, key="", owner=OWNERS[0], owner_name="x")
        assert request.model_dump(exclude_none=True) == {"url": "http://host:1"}
