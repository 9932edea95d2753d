"""The template that puts Open WebUI in front of Quarterdeck: what Docker Compose makes of it leads to our address."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from scripted_core import scripted_core

from quarterdeck.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = (ROOT / "packaging" / "open-webui.compose.yaml").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
KEY = "QUARTERDECK_API_KEY"
GATEWAY = "host.docker.internal"


def composed(**environment: str) -> dict[str, Any]:
    """The template with its variables filled in as Docker Compose does it. Raises LookupError for a required one."""

    def value(found: re.Match[str]) -> str:
        name, sign, otherwise = found.groups()
        if environment.get(name):
            return environment[name]
        if sign == ":?":
            raise LookupError(otherwise)
        return otherwise or ""

    filled: dict[str, Any] = _fill(yaml.safe_load(TEMPLATE), lambda text: VARIABLE.sub(value, text))
    return filled


def _fill(node: Any, fill: Any) -> Any:
    if isinstance(node, dict):
        return {name: _fill(each, fill) for name, each in node.items()}
    if isinstance(node, list):
        return [_fill(each, fill) for each in node]
    return fill(node) if isinstance(node, str) else node


def service(**environment: str) -> dict[str, Any]:
    only: dict[str, Any] = composed(**{KEY: "qd-key", **environment})["services"]["open-webui"]
    return only


def test_both_connections_lead_to_the_default_address() -> None:
    environment = service()["environment"]
    port = Settings().port

    assert environment["OPENAI_API_BASE_URL"] == f"http://{GATEWAY}:{port}/v1"
    assert environment["OLLAMA_BASE_URL"] == f"http://{GATEWAY}:{port}"
    assert environment["RAG_OPENAI_API_BASE_URL"] == environment["OPENAI_API_BASE_URL"]
    assert f"{GATEWAY}:host-gateway" in service()["extra_hosts"]


def test_another_port_is_used_everywhere() -> None:
    urls = [text for text in service(QUARTERDECK_PORT="8123")["environment"].values() if text.startswith("http")]

    assert {urlsplit(url).port for url in urls} == {8123}


def test_the_key_comes_from_the_environment_and_reaches_both_connections() -> None:
    environment = service()["environment"]
    (ollama,) = json.loads(environment["OLLAMA_API_CONFIGS"]).values()

    assert environment["OPENAI_API_KEY"] == environment["RAG_OPENAI_API_KEY"] == ollama["key"] == "qd-key"
    assert ollama["prefix_id"]
    with pytest.raises(LookupError, match="quarterdeck keys add"):
        composed()


def test_nothing_is_built_and_the_page_is_for_this_machine_only() -> None:
    only = service()

    assert "build" not in only
    assert [str(port).rpartition(":")[0] for port in only["ports"]] == ["127.0.0.1:3000"]
    assert {volume.partition(":")[0] for volume in only["volumes"]} == composed(**{KEY: "k"})["volumes"].keys()


def test_quarterdeck_answers_at_these_addresses_for_this_host_and_key(tmp_path: Path) -> None:
    with scripted_core(tmp_path) as core:
        name = core.add()
        key = core.http.post("/api/keys", json={"name": "open-webui"}).json()["key"]
        environment = service(**{KEY: key, "QUARTERDECK_PORT": str(urlsplit(core.public_url).port)})["environment"]
        (ollama,) = json.loads(environment["OLLAMA_API_CONFIGS"]).values()
        asked = {
            f"{environment['OPENAI_API_BASE_URL']}/models": environment["OPENAI_API_KEY"],
            f"{environment['OLLAMA_BASE_URL']}/api/tags": ollama["key"],
        }
        for url, bearer in asked.items():
            headers = {"Host": urlsplit(url).netloc}
            there = url.replace(GATEWAY, "127.0.0.1")
            assert httpx.get(there, headers=headers, trust_env=False).status_code == 401
            headers["Authorization"] = f"Bearer {bearer}"
            answer = httpx.get(there, headers=headers, trust_env=False)
            assert answer.status_code == 200
            assert name in answer.text
