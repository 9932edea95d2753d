"""What processes, units and servers tell about themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recorded_server import reply, serve

from quarterdeck.backends.tools import Tool
from quarterdeck.scheduling import fact_probes
from quarterdeck.scheduling.fact_probes import Asking

REFUSED = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["litellm", "--config", "a.yaml", "--port", "1"], "/etc/x/a.yaml"),
        (["python", "litellm", "--config=/b.yaml"], "/b.yaml"),
        (["litellm", "-c", "a.yaml"], "/etc/x/a.yaml"),
        (["litellm", "--config"], ""),
        (["litellm"], ""),
    ],
)
def test_the_file_of_a_gateway_is_read_from_its_command_line(arguments: list[str], expected: str) -> None:
    assert fact_probes.config_of(arguments, "/etc/x") == expected


def test_keys_are_not_kept() -> None:
    shown = fact_probes.hidden(["vllm", "serve", "m", "--api-key", "k1", "--hf-token=k2", "--port", "1"])
    assert shown == ("vllm", "serve", "m", "--api-key", "…", "--hf-token=…", "--port", "1")


def test_a_unit_that_starts_a_script_is_not_compared_with_what_the_script_started() -> None:
    declared = ("/usr/bin/vllm", "serve", "m")
    assert fact_probes.comparable(declared, ("/usr/bin/python3", "/usr/bin/vllm", "serve", "m")) == declared
    assert fact_probes.comparable(("/bin/sh", "-c", "start"), ("/usr/bin/python3", "/usr/bin/vllm")) == ()


def test_a_process_tells_its_arguments_and_only_harmless_values(tmp_path: Path) -> None:
    code = "import sys; print(1, flush=True); sys.stdin.read()"
    environment = {"OLLAMA_HOST": "0.0.0.0", "HF_TOKEN": "secret", "OTHER": "x", "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, "-c", code, "--port", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        cwd=tmp_path,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        fact = fact_probes.processes([child.pid])[child.pid]
        child.communicate()
    assert fact.arguments[-2:] == ("--port", "1")
    assert fact.folder == str(tmp_path)
    assert fact.environment["OLLAMA_HOST"] == "0.0.0.0"
    assert fact.environment["HF_TOKEN"] == fact.environment["OTHER"] == "…"
    assert fact_probes.processes([child.pid]) == {}


async def test_a_unit_tells_what_it_declares(tmp_path: Path) -> None:
    script = tmp_path / "systemctl"
    script.write_text(
        "#!/bin/sh\n"
        "echo 'ExecStart={ path=/usr/bin/litellm ; argv[]=/usr/bin/litellm --config a.yaml --port 4000 ; "
        "ignore_errors=no ; start_time=[n/a] }'\n"
        "echo 'Environment=OLLAMA_HOST=0.0.0.0 MY_KEY=k'\n"
        "echo 'WorkingDirectory=/etc/x'\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    unit = await fact_probes.unit("litellm.service", Tool("systemctl", str(tmp_path)))
    assert unit.arguments == ("/usr/bin/litellm", "--config", "a.yaml", "--port", "4000")
    assert unit.environment == {"OLLAMA_HOST": "0.0.0.0", "MY_KEY": "…"}
    assert fact_probes.config_of(unit.arguments, unit.folder) == "/etc/x/a.yaml"


CHAT = "/v1/chat/completions"


async def test_a_refused_tool_call_is_asked_for_once_per_process() -> None:
    asking = Asking()
    async with serve({CHAT: reply({"message": REFUSED, "code": 400}, 400)}) as server:
        assert await asking.tools(server.url, "m", {}, process=1, ask=False) == (None, "")
        assert server.asked == []
        works, said = await asking.tools(server.url, "m", {}, process=1, ask=True)
        assert works is False
        assert "--enable-auto-tool-choice" in said
        assert (await asking.tools(server.url, "m", {}, process=1, ask=False))[0] is False
        await asking.tools(server.url, "m", {}, process=1, ask=True)
        assert len(server.asked) == 1
        await asking.tools(server.url, "m", {}, process=2, ask=True)
        assert len(server.asked) == 2
    await asking.close()


async def test_an_error_that_does_not_speak_of_tools_tells_nothing() -> None:
    asking = Asking()
    async with serve({CHAT: reply({"message": "overloaded"}, 503)}) as server:
        assert await asking.tools(server.url, "m", {}, process=1, ask=True) == (None, "")
    await asking.close()


async def test_a_gateway_tells_where_its_models_lead() -> None:
    entry = {"model_name": "coder", "litellm_params": {"model": "openai/x", "api_base": "http://h/v1"}}
    asking = Asking()
    async with serve({"/model/info": reply({"data": [entry, {"odd": 1}]})}) as server:
        routes = await asking.routes(server.url, {})
    assert [(route.name, route.target, route.url) for route in routes] == [("coder", "openai/x", "http://h/v1")]
    assert await asking.routes(server.url, {}) == ()
    await asking.close()


async def test_a_list_tells_context_lengths() -> None:
    listed = {"data": [{"id": "a", "max_model_len": 4096}, {"id": "b", "meta": {"n_ctx": 512}}, {"id": "c"}]}
    asking = Asking()
    async with serve({"/v1/models": reply(listed)}) as server:
        models = await asking.served(server.url, {})
    assert [(model.id, model.context_length) for model in models] == [("a", 4096), ("b", 512), ("c", None)]
    await asking.close()
