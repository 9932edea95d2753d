"""Which rule decides about a name, in which order models are tried, and what stands in for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing_room import OLLAMA, RoutingRoom, share

from quarterdeck.errors import AppError
from quarterdeck.proxy.routing.fallbacks import FallbackClass
from quarterdeck.proxy.routing.rules import RuleBook
from quarterdeck.proxy.routing.shares import Shares
from quarterdeck.schemas.models import ModelCreate, Phase
from quarterdeck.schemas.requests import RouteQuestion, RoutingRules

OTHER = "http://127.0.0.1:11435"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[RoutingRoom]:
    made = RoutingRoom(tmp_path)
    await made.open()
    await made.find("llama3.1:8b", "qwen2.5-coder:7b", "phi4:latest", "gemma3:4b")
    yield made
    await made.close()


class TestOrder:
    async def test_each_rule_gives_way_to_the_one_before(self, room: RoutingRoom) -> None:
        """Rules are taken away one by one; the next one answers to the same name."""
        room.set(default_model="gemma3:4b")
        await room.decide("llama3.1:8b", aliases=["house"])
        await room.rule(
            capabilities=[{"name": "House", "models": ["phi4"]}],
            patterns=[{"pattern": "ho.*", "model": "qwen2.5-coder:7b"}],
        )
        assert room.lead("llama3.1:8b") == ("exact", ["llama3.1:8b"])
        assert room.lead("house") == ("alias", ["llama3.1:8b"])
        await room.decide("llama3.1:8b", aliases=[])
        assert room.lead("house") == ("capability", ["phi4:latest"])
        await room.rule(patterns=[{"pattern": "ho.*", "model": "qwen2.5-coder:7b"}])
        assert room.lead("house") == ("pattern", ["qwen2.5-coder:7b"])
        await room.rule()
        assert room.lead("house") == ("default", ["gemma3:4b"])
        room.set(default_model="")
        with pytest.raises(AppError, match="no model named “house”"):
            room.lead("house")

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ("gpt-4o-mini", "phi4:latest"),
            ("gpt-4", "phi4:latest"),
            ("my-gpt-4", None),
            ("GPT-4", None),
            ("acme:70b", "llama3.1:8b"),
            ("acme:70B", "llama3.1:8b"),
            ("acme:70bx", None),
            ("gpt" * 100, None),
        ],
    )
    async def test_a_pattern_matches_the_whole_name(self, room: RoutingRoom, asked: str, expected: str | None) -> None:
        await room.rule(
            patterns=[
                {"pattern": "gpt-.*", "model": "ghost"},
                {"pattern": "gpt.*", "model": "phi4"},
                {"pattern": r".*:\d+[bB]", "model": "llama3.1:8b"},
            ]
        )
        if expected is None:
            with pytest.raises(AppError):
                room.lead(asked)
        else:
            assert room.lead(asked) == ("pattern", [expected])

    async def test_a_role_or_capability_can_be_asked_for(self, room: RoutingRoom) -> None:
        await room.decide("qwen2.5-coder:7b", roles=["Coder"])
        await room.find("nomic-embed", capabilities=["embeddings"])
        assert room.lead("coder") == ("capability", ["qwen2.5-coder:7b"])
        assert room.lead("embeddings") == ("capability", ["nomic-embed"])
        await room.decide("phi4:latest", roles=["coder"])
        assert room.lead("coder")[1] == ["phi4:latest", "qwen2.5-coder:7b"]
        room.catalog.set_phase("qwen2.5-coder:7b", Phase.LOADED)
        assert room.lead("coder")[1] == ["qwen2.5-coder:7b", "phi4:latest"]
        for name in ("phi4:latest", "qwen2.5-coder:7b"):
            await room.decide(name, deprecated=True)
        with pytest.raises(AppError):
            room.lead("coder")

    async def test_an_unknown_name_is_told_what_is_written_alike(self, room: RoutingRoom) -> None:
        await room.decide("gemma3:4b", deprecated=True)
        with pytest.raises(AppError) as caught:
            room.lead("qwen2.5-coder")
        assert (caught.value.code, caught.value.status) == ("unknown_model", 404)
        assert caught.value.details == {"close": ["qwen2.5-coder:7b"]}
        assert "qwen2.5-coder:7b" in caught.value.hint
        with pytest.raises(AppError) as caught:
            room.lead("gemma3")
        assert caught.value.details == {"close": []}

    async def test_what_was_remembered_of_a_name_follows_every_change(self, room: RoutingRoom) -> None:
        with pytest.raises(AppError):
            room.lead("newcomer")
        await room.find("newcomer")
        assert room.lead("newcomer") == ("exact", ["newcomer"])
        room.catalog.set_phase("newcomer", Phase.LOADED)
        assert room.router.route("newcomer", frozenset()).models[0].loaded
        await room.catalog.refresh("newcomer")
        room.catalog.set_phase("newcomer", Phase.UNLOADED)
        await room.catalog.remove("newcomer")
        with pytest.raises(AppError):
            room.lead("newcomer")
        room.set(default_model="phi4")
        assert room.lead("newcomer") == ("default", ["phi4:latest"])

    async def test_many_strange_names_are_not_remembered_for_ever(
        self, room: RoutingRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("quarterdeck.proxy.routing.router.MOST_KEPT", 10)
        room.set(default_model="phi4")
        for number in range(100):
            assert room.lead(f"strange-{number}")[0] == "default"
        assert len(room.router._plans) <= 10


class TestShares:
    async def test_requests_are_shared_by_weight(self, room: RoutingRoom) -> None:
        await room.rule(balance=[{"name": "pool", "models": [share("phi4", 0.7), share("gemma3:4b", 0.3)]}])
        drawn = [room.lead("POOL") for _ in range(100)]
        assert {rule for rule, _ in drawn} == {"balance"}
        assert Counter(models[0] for _, models in drawn) == {"phi4:latest": 70, "gemma3:4b": 30}
        assert all(sorted(models) == ["gemma3:4b", "phi4:latest"] for _, models in drawn)

    async def test_the_name_of_a_model_can_be_shared(self, room: RoutingRoom) -> None:
        await room.rule(balance=[{"name": "phi4:latest", "models": [share("phi4"), share("gemma3:4b")]}])
        assert {room.lead("phi4")[1][0] for _ in range(2)} == {"phi4:latest", "gemma3:4b"}
        assert room.lead("gemma3:4b") == ("exact", ["gemma3:4b"])

    async def test_a_pattern_and_the_default_may_lead_to_shares(self, room: RoutingRoom) -> None:
        await room.rule(
            balance=[{"name": "pool", "models": [share("phi4"), share("gemma3:4b")]}],
            patterns=[{"pattern": "gpt-.*", "model": "pool"}],
        )
        room.set(default_model="pool")
        for name, rule in (("gpt-4o", "pattern"), ("whatever", "default")):
            drawn = [room.lead(name) for _ in range(2)]
            assert {models[0] for _, models in drawn} == {"phi4:latest", "gemma3:4b"}
            assert {each for each, _ in drawn} == {rule}

    async def test_who_is_down_takes_no_turn_and_comes_last(self, room: RoutingRoom) -> None:
        await room.rule(balance=[{"name": "pool", "models": [share("phi4", 9), share("gemma3:4b"), share("ghost")]}])
        room.health.failed("phi4:latest", gone=True)
        assert [room.lead("pool")[1] for _ in range(3)] == [["gemma3:4b", "phi4:latest"]] * 3
        room.at = room.settings.avoid_seconds
        assert "phi4:latest" in [room.lead("pool")[1][0] for _ in range(2)]

    @given(
        weights=st.dictionaries(
            st.sampled_from("abcdef"), st.floats(min_value=0.01, max_value=100), min_size=1, max_size=6
        ),
        turns=st.integers(min_value=1, max_value=300),
    )
    def test_no_model_is_ever_far_from_its_share(self, weights: dict[str, float], turns: int) -> None:
        shares = Shares()
        total = sum(weights.values())
        counted: Counter[str] = Counter()
        for turn in range(1, turns + 1):
            expected = shares.peek("x", weights)
            assert expected == shares.peek("x", weights)
            assert shares.draw("x", weights) == expected
            counted[expected] += 1
            for name, weight in weights.items():
                assert abs(counted[name] - turn * weight / total) < len(weights)

    @given(
        st.lists(
            st.dictionaries(st.sampled_from("abc"), st.floats(min_value=0.1, max_value=9), min_size=1), max_size=40
        )
    )
    def test_models_may_come_and_go(self, rounds: list[dict[str, float]]) -> None:
        shares = Shares()
        for weights in rounds:
            assert shares.draw("x", weights) in weights


class TestInstances:
    async def test_the_same_id_at_a_second_server_stands_by(self, room: RoutingRoom) -> None:
        await room.find("phi4:latest", url=OTHER)
        assert room.lead("phi4:latest") == ("exact", ["phi4:latest", "ollama/phi4:latest"])
        assert room.lead("ollama/phi4:latest")[1] == ["ollama/phi4:latest", "phi4:latest"]
        for _ in range(room.settings.failure_threshold):
            assert room.lead("phi4")[1][0] == "phi4:latest"
            room.health.failed("phi4:latest")
        assert room.lead("phi4")[1] == ["ollama/phi4:latest", "phi4:latest"]
        room.health.answered("phi4:latest")
        assert room.lead("phi4")[1][0] == "phi4:latest"

    @pytest.mark.parametrize(
        ("url", "facts"),
        [
            ("https://models.example.com", {}),
            ("http://8.8.8.8:11434", {}),
            (OTHER, {"size_bytes": 8}),
            (OTHER, {"backend": "openai-compatible"}),
        ],
    )
    async def test_what_is_far_away_or_another_model_does_not(
        self, room: RoutingRoom, url: str, facts: dict[str, Any]
    ) -> None:
        await room.find("twin", size_bytes=9)
        await room.find("twin", url=url, **{"size_bytes": 9, **facts})
        assert room.lead("twin") == ("exact", ["twin"])

    async def test_one_file_in_two_engines(self, room: RoutingRoom, tmp_path: Path) -> None:
        path = tmp_path / "model.gguf"
        await room.find_file("one", path)
        await room.catalog.add(_created("two", path, "llama-server"))
        await room.catalog.add(_created("three", path, "embedded"))
        assert room.lead("one")[1] == ["one", "two"]
        assert room.lead("two")[1] == ["two", "one", "three"]
        await room.decide("two", compatibility_status="incompatible")
        assert room.lead("two")[1][-1] == "two"

    async def test_a_hidden_instance_does_not_stand_by(self, room: RoutingRoom) -> None:
        await room.find("phi4:latest", url=OTHER)
        await room.decide("ollama/phi4:latest", deprecated=True)
        assert room.lead("phi4")[1] == ["phi4:latest"]

    async def test_the_first_that_can_do_what_is_needed(self, room: RoutingRoom) -> None:
        await room.find("llava", capabilities=["chat", "vision"])
        await room.find("blind", capabilities=["chat"])
        await room.rule(capabilities=[{"name": "house", "models": ["blind", "phi4", "llava"]}])
        assert room.lead("house")[1] == ["blind", "phi4:latest", "llava"]
        assert room.lead("house", "vision")[1] == ["phi4:latest", "llava"]
        await room.rule(capabilities=[{"name": "house", "models": ["blind"]}])
        assert room.lead("house", "vision")[1] == ["blind"]

    async def test_a_word_leads_to_the_first_model_that_is_up(self, room: RoutingRoom) -> None:
        await room.rule(capabilities=[{"name": "code", "models": ["qwen2.5-coder:7b", "phi4", "gemma3:4b"]}])
        await room.decide("qwen2.5-coder:7b", compatibility_status="incompatible")
        room.health.failed("phi4:latest", gone=True)
        assert room.lead("code")[1] == ["gemma3:4b", "qwen2.5-coder:7b", "phi4:latest"]


class TestFallbacks:
    async def test_the_list_of_the_name_then_of_its_model_then_of_any(self, room: RoutingRoom) -> None:
        await room.decide("phi4:latest", aliases=["house"])
        await room.rule(
            fallbacks=[
                {"model": "house", "error": ["gemma3:4b"]},
                {"model": "phi4", "error": ["llama3.1:8b"], "content": ["qwen2.5-coder:7b", "ghost"]},
                {"model": "*", "error": ["phi4"], "context_window": ["gemma3:4b", "phi4"]},
            ]
        )
        by_name = room.router.route("house", frozenset()).fallbacks
        assert by_name == {
            FallbackClass.ERROR: ("gemma3:4b",),
            FallbackClass.CONTENT: ("qwen2.5-coder:7b",),
            FallbackClass.CONTEXT_WINDOW: ("gemma3:4b",),
        }
        assert room.router.route("phi4:latest", frozenset()).fallbacks[FallbackClass.ERROR] == ("llama3.1:8b",)
        assert room.router.route("gemma3:4b", frozenset()).fallbacks == {
            FallbackClass.ERROR: ("phi4:latest",),
            FallbackClass.CONTEXT_WINDOW: ("phi4:latest",),
        }

    async def test_a_word_stands_for_all_its_models(self, room: RoutingRoom) -> None:
        await room.rule(
            capabilities=[{"name": "spare", "models": ["gemma3:4b", "phi4"]}],
            fallbacks=[{"model": "phi4", "error": ["spare"]}],
        )
        assert room.router.route("phi4", frozenset()).fallbacks == {FallbackClass.ERROR: ("gemma3:4b",)}


class TestTester:
    async def test_every_rule_that_was_looked_at_is_told(self, room: RoutingRoom) -> None:
        await room.rule(
            patterns=[{"pattern": "gpt-.*", "model": "phi4"}], fallbacks=[{"model": "*", "error": ["gemma3:4b"]}]
        )
        report = room.test("gpt-4o")
        assert [(step.rule, step.fits) for step in report.steps] == [
            ("exact", False), ("alias", False), ("capability", False), ("pattern", True),
        ]  # fmt: skip
        assert "gpt-.*" in report.steps[-1].sentence
        assert (report.rule, report.model, report.backend) == ("pattern", "phi4:latest", "ollama")
        assert (report.tried, report.fallbacks) == (["phi4:latest", "gemma3:4b"], {"error": ["gemma3:4b"]})

    @pytest.mark.parametrize("down", ["phi4", "PHI4:latest"])
    async def test_a_model_that_is_down(self, room: RoutingRoom, down: str) -> None:
        await room.find("phi4:latest", url=OTHER)
        report = room.test("phi4", down=[down])
        assert (report.rule, report.model) == ("alias", "ollama/phi4:latest")
        assert report.tried == ["ollama/phi4:latest"]
        assert any(not step.fits and "phi4:latest is taken as down" in step.sentence for step in report.steps)

    async def test_a_backend_that_is_down_is_replaced_by_the_fallback(self, room: RoutingRoom) -> None:
        await room.find("gpt-oss", url="http://127.0.0.1:8000", backend="vllm")
        await room.rule(fallbacks=[{"model": "phi4", "error": ["gemma3:4b", "gpt-oss"]}])
        report = room.test("phi4", down=["ollama"])
        assert (report.rule, report.model, report.backend) == ("fallback", "gpt-oss", "vllm")
        assert report.steps[-1].rule == "fallback"
        nothing = room.test("phi4", down=["ollama", "vllm"])
        assert (nothing.rule, nothing.model, nothing.tried) == (None, None, [])
        assert nothing.problem is not None
        assert "down" in nothing.problem

    async def test_one_of_two_servers_of_a_kind_is_down(self, room: RoutingRoom) -> None:
        await room.find("phi4:latest", url=OTHER)
        question = RouteQuestion(model="phi4", down=["ollama"])
        report = room.router.explain(question, MappingProxyType({"ollama": OLLAMA}))
        assert report.model == "ollama/phi4:latest"
        assert any(OLLAMA in step.sentence for step in report.steps)

    async def test_a_name_that_leads_nowhere(self, room: RoutingRoom) -> None:
        report = room.test("qwen2.5-code")
        assert (report.rule, report.model, report.steps[-1].rule) == (None, None, "default")
        assert report.problem is not None
        assert "qwen2.5-coder:7b" in report.problem

    async def test_what_is_needed(self, room: RoutingRoom) -> None:
        await room.find("blind", capabilities=["chat"])
        report = room.test("blind", needs=["vision"])
        assert (report.model, report.problem) == (None, "“blind” cannot read pictures.")
        assert room.test("blind", needs=["chat"]).model == "blind"
        with pytest.raises(AppError) as caught:
            room.test("blind", needs=["flying"])
        assert caught.value.code == "bad_request"

    async def test_testing_takes_no_turn(self, room: RoutingRoom) -> None:
        await room.rule(balance=[{"name": "pool", "models": [share("phi4"), share("gemma3:4b")]}])
        for _ in range(4):
            told = [room.test("pool").model for _ in range(3)]
            assert told == [room.lead("pool")[1][0]] * 3
        assert room.test("pool", down=["phi4"]).model == "gemma3:4b"

    async def test_what_keeps_failing_is_told(self, room: RoutingRoom) -> None:
        room.health.failed("phi4:latest", gone=True)
        report = room.test("phi4")
        assert report.model == "phi4:latest"
        assert any("kept failing" in step.sentence for step in report.steps)


class TestBook:
    async def test_rules_outlive_the_run(self, room: RoutingRoom) -> None:
        await room.rule(balance=[{"name": "Pool", "models": [share("phi4", 0.25)]}])
        again = RuleBook(room.database)
        await again.open()
        assert again.current == room.rules.current
        assert again.balance["pool"].models[0].weight == 0.25

    @pytest.mark.parametrize("kept", [[1, 2], {"patterns": [{"pattern": "(", "model": "x"}]}, {"later": []}])
    async def test_what_cannot_be_used_any_more_is_left_aside(self, room: RoutingRoom, kept: Any) -> None:
        from quarterdeck.storage.tables import Memory

        await room.database.run(lambda session: session.merge(Memory(key="routing_rules", value=kept)))
        again = RuleBook(room.database)
        await again.open()
        assert again.current == RoutingRules()
        assert (await room.database.run(lambda session: session.get(Memory, "routing_rules"))).value == kept  # type: ignore[union-attr]

    async def test_bad_rules_change_nothing(self, room: RoutingRoom) -> None:
        await room.rule(patterns=[{"pattern": "a", "model": "phi4"}])
        before, revision = room.rules.current, room.rules.revision
        with pytest.raises(AppError) as caught:
            await room.rule(patterns=[{"pattern": "(", "model": "phi4"}])
        assert (caught.value.code, caught.value.status) == ("bad_rules", 400)
        assert caught.value.details["problems"]
        assert (room.rules.current, room.rules.revision) == (before, revision)


def _created(name: str, path: Path, backend: str) -> Any:
    return ModelCreate(model_name=name, path=str(path), backend=backend)
