"""States of configuration files, and what declared and running have otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from drift_room import CODER, REFUSED, UNIFIED, Room

from quarterdeck.diagnosis.drift import compare, problems
from quarterdeck.diagnosis.drift.facts import GatewayRoute, ModelFact, Running, ServedModel, ServerFact, place
from quarterdeck.diagnosis.drift.files import view
from quarterdeck.schemas.problems import FixKind, ProblemView, Severity
from quarterdeck.schemas.report import Difference, FileState

BROKEN_YAML = """\
  File "/opt/litellm/lib/python3.11/site-packages/yaml/parser.py", line 392, in parse_block_sequence_entry
    raise ParserError("while parsing a block collection", self.marks[-1],
yaml.parser.ParserError: while parsing a block collection
  in "litellm.yaml", line 2, column 3
expected <block end>, but found '<block mapping start>'
  in "litellm.yaml", line 3, column 4
"""
ACTIVE, DEPLOYED, NOT_DEPLOYED = FileState.ACTIVE, FileState.DEPLOYED, FileState.NOT_DEPLOYED


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


async def states(room: Room, path: Path) -> list[FileState]:
    return (await room.file(path)).states


async def differences(room: Room) -> list[Difference]:
    return compare.differences(room.facts, await room.files())


async def found(room: Room) -> dict[str, ProblemView]:
    files = await room.files()
    listed = problems.problems(room.facts, files, compare.differences(room.facts, files))
    return {each.id.split(":")[1]: each for each in listed}


async def test_the_file_that_a_gateway_uses_is_active_and_the_other_is_not_deployed(room: Room) -> None:
    assert await states(room, room.small) == [ACTIVE, DEPLOYED]
    assert await states(room, room.unified) == [NOT_DEPLOYED]


async def test_a_change_since_the_start_is_not_in_use(room: Room) -> None:
    room.change("litellm", started_at=room.small.stat().st_mtime - 100)
    assert await states(room, room.small) == [ACTIVE, FileState.MODIFIED]
    assert [each.what for each in await differences(room) if each.subject == str(room.small)] == [compare.VERSION]
    assert (await found(room))["reload"].fixes[0].patch == {"action": "reload"}


async def test_a_change_that_git_does_not_have_is_uncommitted(room: Room) -> None:
    room.unified.write_text(UNIFIED.replace("num_retries: 2", "num_retries: 3"), encoding="utf-8")
    assert await states(room, room.unified) == [NOT_DEPLOYED, FileState.MODIFIED, FileState.UNCOMMITTED]
    problem = (await found(room))["uncommitted"]
    assert problem.severity is Severity.LOW
    assert [fix.patch["action"] for fix in problem.fixes] == ["commit", "revert", "stash"]


async def test_a_file_that_is_gone_or_broken_says_so(room: Room) -> None:
    room.small.unlink()
    room.unified.write_text("model_list: [", encoding="utf-8")
    assert FileState.MISSING in await states(room, room.small)
    assert FileState.INVALID in await states(room, room.unified)


async def test_the_view_says_what_the_file_is_for(room: Room) -> None:
    shown = view(await room.file(room.small), room.facts)
    assert shown.models == ["coder"]
    assert shown.purpose.startswith("Only what the terminal client needs. 1 model on vLLM; fails fast")
    assert shown.git.startswith("committed")
    room.change("litellm", state=Running.DOWN)
    assert view(await room.file(room.small), room.facts).users == ["litellm (down)"]


async def test_what_agrees_differs_in_nothing_but_the_file_that_nobody_uses(room: Room) -> None:
    assert [each.what for each in await differences(room)] == [compare.DEPLOYED]


async def test_declared_tool_calling_is_not_believed(room: Room) -> None:
    room.change("vllm", models=(ServedModel(CODER, 4096, tools=False, tools_error=REFUSED),))
    worst = (await differences(room))[0]
    assert (worst.what, worst.severity) == (compare.TOOLS, "critical")
    problem = (await found(room))["tools"]
    assert problem.severity is Severity.CRITICAL
    assert not problem.fixes
    flags = {"enable_auto_tool_choice": True, "tool_call_parser": "hermes"}
    room.models = (ModelFact("coder", "vllm", served_name=CODER, url="http://127.0.0.1:8001", loaded=True,
                             tool_flags=flags),)  # fmt: skip
    problem = (await found(room))["tools"]
    assert not problem.fixes
    assert problem.commands == [
        f"vllm serve {CODER} --port 8001 --enable-auto-tool-choice --tool-call-parser hermes"
    ]  # fmt: skip
    room.change("vllm", owner="quarterdeck")
    problem = (await found(room))["tools"]
    assert (problem.subject, problem.fixes[0].patch, problem.commands) == ("model:coder", flags, [])


async def test_what_is_new_since_the_last_commit_is_told(room: Room) -> None:
    room.unified.write_text(
        UNIFIED.replace("model_name: dolphin", "model_name: falcon").replace("num_retries: 2", "num_retries: 3"),
        encoding="utf-8",
    )
    told = "new: falcon; gone: dolphin; changed: litellm_settings"
    assert told in (await found(room))["uncommitted"].why
    assert view(await room.file(room.unified), room.facts).git.endswith(told)


async def test_a_missing_model_is_hardly_a_problem_where_its_stand_in_answers(room: Room) -> None:
    room.small.write_text(UNIFIED, encoding="utf-8")
    room.change("litellm", started_at=room.small.stat().st_mtime + 10, routes=(),
                models=tuple(map(ServedModel, ("llama", "coder", "dolphin"))))  # fmt: skip
    missing = next(each for each in await differences(room) if each.what == compare.SERVED_NAME)
    assert (missing.severity, missing.declared.split()[0]) == ("high", "dolphin")
    room.servers["ollama"] = ServerFact(
        name="ollama", kind="ollama", title="Ollama", address="http://127.0.0.1:11434", state=Running.RUNNING,
        models=(ServedModel("llama3.1:latest"),),
    )  # fmt: skip
    missing = next(each for each in await differences(room) if each.what == compare.SERVED_NAME)
    assert missing.severity == "low"
    assert missing.running.endswith("llama answers instead")


async def test_a_gateway_that_rests_is_started_with_what_is_chosen(room: Room) -> None:
    assert "LiteLLM" not in (await found(room))["undeployed"].fixes[0].title
    room.change("litellm", state=Running.DOWN, startable=True)
    problem = (await found(room))["undeployed"]
    assert [fix.title.endswith(", and start LiteLLM") for fix in problem.fixes] == [True, True, False]
    assert problem.why.startswith("LiteLLM uses ")


async def test_a_server_that_refuses_tools_nobody_declared_is_no_problem(room: Room) -> None:
    room.small.write_text(room.small.read_text().replace("true\nlitellm", "false\nlitellm"), encoding="utf-8")
    room.change("vllm", models=(ServedModel(CODER, 4096, tools=False, tools_error=REFUSED),))
    assert "tools" not in await found(room)


@pytest.mark.parametrize(
    ("server", "values", "what"),
    [
        ("vllm", {"models": (ServedModel("workspace-coder"),)}, compare.SERVED_NAME),
        ("vllm", {"state": Running.DOWN}, compare.ADDRESS),
        ("litellm", {"models": (ServedModel("other"),), "routes": ()}, compare.MODELS),
        ("litellm", {"routes": (GatewayRoute("coder", "openai/other", "http://localhost:8001/v1"),)}, compare.MODELS),
        ("vllm", {"declared_arguments": ("vllm", "serve", CODER, "--port", "8002")}, compare.ARGUMENTS),
        ("vllm", {"environment": {"VLLM_USE_V1": "0"}, "declared_environment": {"VLLM_USE_V1": "1"}}, compare.VARIABLE),
    ],
)
async def test_each_way_to_differ_is_found(room: Room, server: str, values: dict[str, object], what: str) -> None:
    room.change(server, **values)
    assert what in {each.what for each in await differences(room)}


async def test_hidden_values_and_the_order_of_options_are_no_difference(room: Room) -> None:
    room.change(
        "vllm",
        declared_arguments=("vllm", "serve", CODER, "--port=8001"),
        environment={"HF_TOKEN": "…"},
        declared_environment={"HF_TOKEN": "x"},
    )
    assert {each.what for each in await differences(room)} == {compare.DEPLOYED}


async def test_a_longer_declared_context_than_the_running_one_is_told(room: Room) -> None:
    text = room.small.read_text().replace("true\nlitellm", "true\n      max_input_tokens: 8192\nlitellm")
    room.small.write_text(text, encoding="utf-8")
    assert compare.CONTEXT in {each.what for each in await differences(room)}


async def test_a_variable_that_the_gateway_was_started_without_is_told(room: Room) -> None:
    text = room.small.read_text().replace("timeout: 5", "timeout: 5\n      api_key: os.environ/CODER_KEY")
    room.small.write_text(text, encoding="utf-8")
    room.change("litellm", environment={"HOME": "…"})
    assert [each.declared for each in await differences(room) if each.what == compare.VARIABLE] == [
        "CODER_KEY (line 8)"
    ]
    room.change("litellm", environment={"CODER_KEY": "…"})
    assert compare.VARIABLE not in {each.what for each in await differences(room)}


async def test_a_loaded_model_is_compared_with_its_entry(room: Room) -> None:
    room.models = (
        ModelFact("m", "vllm", loaded=True, declared_context=8192, running_context=4096, capabilities=("tools",),
                  tools=False),
        ModelFact("asleep", "vllm", declared_context=8192, running_context=4096),
    )  # fmt: skip
    assert {(each.subject, each.what) for each in await differences(room) if "/" not in each.subject} == {
        ("m", compare.CONTEXT),
        ("m", compare.TOOLS),
    }


async def test_a_service_that_is_down_offers_its_start(room: Room) -> None:
    room.change("litellm", state=Running.DOWN, startable=True, detail="The unit litellm.service ended 2 h 49 min ago.")
    problem = (await found(room))["stopped"]
    assert (problem.fixes[0].kind, problem.fixes[0].target) == (FixKind.START_SERVER, "litellm")
    assert "2 h 49 min" in problem.why


async def test_a_server_that_failed_tells_why(room: Room) -> None:
    room.change("litellm", state=Running.DOWN, startable=True, last_words=tuple(BROKEN_YAML.splitlines()))
    problem = (await found(room))["stopped"]
    assert problem.failure_class == "bad_load_config"
    assert problem.title == "LiteLLM does not run: a configuration file cannot be read"
    assert problem.evidence[0].text in BROKEN_YAML
    assert problem.advice
    assert problem.fixes[0].kind is FixKind.START_SERVER


async def test_last_words_without_a_cause_change_nothing(room: Room) -> None:
    room.change(
        "litellm", state=Running.DOWN, startable=True, last_words=("INFO: Uvicorn running on http://127.0.0.1:4000",)
    )
    problem = (await found(room))["stopped"]
    assert (problem.title, problem.failure_class) == ("LiteLLM is down", "connection_refused")


async def test_unknown_is_not_down(room: Room) -> None:
    room.change("litellm", state=Running.UNKNOWN, startable=True)
    assert "stopped" not in await found(room)


async def test_the_file_that_nobody_uses_offers_three_ways(room: Room) -> None:
    problem = (await found(room))["undeployed"]
    assert problem.severity is Severity.HIGH
    assert [fix.patch["action"] for fix in problem.fixes] == ["layered", "merge", "separate"]
    assert all(fix.target == str(room.small) and fix.patch["file"] == str(room.unified) for fix in problem.fixes)


async def test_sources_beside_a_generated_file_make_it_stale(room: Room) -> None:
    room.unified.write_text("# Generated from providers.yaml\n" + UNIFIED, encoding="utf-8")
    sources = room.folder / "providers.yaml"
    sources.write_text("providers:\n  ollama: {base_url: 'http://127.0.0.1:11434'}\n", encoding="utf-8")
    assert FileState.STALE not in await states(room, room.unified)
    later = room.unified.stat().st_mtime + 60
    os.utime(sources, (later, later))
    assert FileState.STALE in await states(room, room.unified)


@pytest.mark.parametrize(
    "url", ["http://localhost:8001/v1", "127.0.0.1:8001", "http://0.0.0.0:8001", "http://[::1]:8001/"]
)
def test_the_names_of_this_machine_are_one_place(url: str) -> None:
    assert place(url) == ("127.0.0.1", 8001)
