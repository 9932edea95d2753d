"""Tool calling with vLLM: which parser fits a model family, and whether a running model lacks one.

Adding a family is an entry of FAMILIES.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quarterdeck.backends.base import Instance
from quarterdeck.backends.remote import Remote, ServerRefused
from quarterdeck.errors import AppError

AUTO_TOOLS = "--enable-auto-tool-choice"


class Family(NamedTuple):
    """A model family: `name` is looked for in the model's name, `architecture` in its architecture."""

    name: str
    architecture: str
    tool_parser: str | None
    reasoning_parser: str | None = None


# The first that matches wins, so the narrower one stands before the wider. Names decide before architectures: a
# finetune keeps its base's architecture, and often speaks another tool format.
FAMILIES = (
    Family(r"hermes|nous-", "", "hermes"),
    Family(r"xlam", "", "xlam"),
    Family(r"functiongemma", "", "functiongemma"),
    Family(r"deepseek-?r1-?distill-?(qwen|llama)", "", None, "deepseek_r1"),
    Family(r"deepseek-?r1", "", "deepseek_v3", "deepseek_r1"),
    Family(r"deepseek-?v3\.?2", "DeepseekV32", "deepseek_v32", "deepseek_v3"),
    Family(r"deepseek-?v3\.?1", "", "deepseek_v31", "deepseek_v3"),
    Family(r"deepseek-?v4", "DeepseekV4", "deepseek_v4", "deepseek_v4"),
    Family(r"deepseek-?v3", "DeepseekV3", "deepseek_v3", None),
    Family(r"qwen-?3(\.\d)?-?coder", "", "qwen3_coder"),
    Family(r"qwen-?3\.[5-9]", "Qwen3_5|Qwen3Next", "qwen3_coder", "qwen3"),
    Family(r"qwq", "", "hermes", "deepseek_r1"),
    Family(r"qwen-?3.*instruct-?2507", "", "hermes"),
    Family(r"qwen-?3", "Qwen3", "hermes", "qwen3"),
    Family(r"qwen-?2", "Qwen2", "hermes"),
    Family(r"smollm-?3", "SmolLM3", "hermes"),
    Family(r"llama-?4", "Llama4", "llama4_pythonic"),
    Family(r"llama-?3\.?[1-3]|llama-?3\b", "", "llama3_json"),
    Family(r"toolace|fireworks-ai/f", "", "pythonic"),
    Family(r"magistral", "", "mistral", "mistral"),
    Family(r"mi[sx]tral|ministral|devstral|codestral|pixtral", "Mistral|Mixtral|Pixtral", "mistral"),
    Family(r"gpt-?oss", "GptOss", "openai", "openai_gptoss"),
    Family(r"gemma-?4", "Gemma4", "gemma4", "gemma4"),
    Family(r"granite-?20b", "", "granite-20b-fc"),
    Family(r"granite-?4", "GraniteMoeHybrid", "granite4"),
    Family(r"granite", "Granite", "granite", "granite"),
    Family(r"glm-?4\.?[78]|glm-?5", "Glm5", "glm47", "glm47"),
    Family(r"glm-?4\.?5", "Glm4Moe", "glm45", "glm45"),
    Family(r"kimi-?k3", "", "kimi_k3", "kimi_k3"),
    Family(r"kimi-?k2", "", "kimi_k2", "kimi_k2"),
    Family(r"minimax-?m3", "MiniMaxM3", "minimax_m3", "minimax_m3"),
    Family(r"minimax-?m2", "MiniMaxM2", "minimax_m2", "minimax_m2"),
    Family(r"phi-?4-?mini", "", "phi4_mini_json"),
    Family(r"internlm", "InternLM", "internlm"),
    Family(r"jamba", "Jamba", "jamba"),
    Family(r"hunyuan-?a13b", "HunYuanMoE", "hunyuan_a13b", "hunyuan_a13b"),
    Family(r"seed-?oss", "SeedOss", "seed_oss", "seed_oss"),
    Family(r"step-?3\.5", "Step3p5", "step3p5", "step3p5"),
    Family(r"step-?3", "Step3", "step3", "step3"),
    Family(r"ernie-?4\.?5", "Ernie4_5", "ernie45", "ernie45"),
    Family(r"olmo-?3", "Olmo3", "olmo3", "olmo3"),
    Family(r"apertus", "Apertus", "apertus"),
    Family(r"gigachat-?3", "", "gigachat3"),
    Family(r"lfm-?2", "Lfm2", "lfm2"),
    Family(r"longcat", "Longcat", "longcat"),
    Family(r"command|aya-expanse", "Cohere", "cohere_command3", "cohere_command3"),
    Family(r"nemotron.*(nano-?v?3|-3-)", "", "qwen3_coder", "nemotron_v3"),
)


def suggest_tool_flags(architecture: str | None, *names: str | None) -> dict[str, object]:
    """The options that give a model tool calling and readable thinking; empty where its family is not known.

    `names` are what the model is called, the most telling first, `architecture` is one such as `Qwen3ForCausalLM`.
    """
    family = _family(architecture or "", [name for name in names if name])
    if family is None:
        return {}
    found: dict[str, object] = {}
    if family.tool_parser:
        found |= {"enable_auto_tool_choice": True, "tool_call_parser": family.tool_parser}
    if family.reasoning_parser:
        found["reasoning_parser"] = family.reasoning_parser
    return found


def _family(architecture: str, names: Sequence[str]) -> Family | None:
    plain = [re.sub(r"[_\s]+", "-", name.lower()) for name in names]
    by_name = (each for name in plain for each in FAMILIES if re.search(each.name, name))
    by_architecture = (
        each for each in FAMILIES if each.architecture and re.match(each.architecture, architecture, re.IGNORECASE)
    )
    return next(by_name, None) or next(by_architecture, None)


async def refuses_tools(remote: Remote, instance: Instance) -> str | None:
    """What a vLLM server lacks for tool calling, in words; asks for one token of an answer."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    message = {"role": "user", "content": "Hello"}
    body = {"model": instance.served_id, "messages": [message], "tools": [tool], "max_tokens": 1}
    url = f"{instance.base_url}/v1/chat/completions"
    try:
        await remote.json("POST", url, who="vLLM", body=body, headers=instance.headers)
    except ServerRefused as refused:
        if AUTO_TOOLS in refused.message:
            return _without_tools(suggest_tool_flags(None, instance.served_id), "Start that server with")
    except AppError:
        pass  # It cannot be told now; what is wrong shows where it is used.
    return None


def missing_tools(path: Path, name: str, config: Mapping[str, Any]) -> str | None:
    """What a model lacks for tool calling, in words: its template knows tools and its options do not. Blocking."""
    given = config.get("enable_auto_tool_choice") or AUTO_TOOLS in config.get("extra_args", ())
    if given or config.get("runner") == "pooling" or not _template_has_tools(path, config):
        return None
    architecture = next(iter(_json(path / "config.json").get("architectures") or []), None)
    return _without_tools(suggest_tool_flags(architecture, name, path.name), "Add to its options:")


def _without_tools(suggested: Mapping[str, object], how: str) -> str:
    parser = suggested.get("tool_call_parser", "the parser of its family")
    return f"It runs without tool calling. {how} enable_auto_tool_choice and tool_call_parser = {parser}."


def _template_has_tools(path: Path, config: Mapping[str, Any]) -> bool:
    given = config.get("chat_template")
    if given:
        return "tools" in (_text(Path(given)) or given)
    return "tools" in _text(path / "chat_template.jinja") or "tools" in json.dumps(
        _json(path / "tokenizer_config.json").get("chat_template", "")
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(file) or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
