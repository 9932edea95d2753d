"""Reads the configuration of a LiteLLM gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quarterdeck.registry.importers.plan import ImportPlan, PlannedModel
from quarterdeck.registry.importers.texts import mapping, positive, word, words, wrong

FORMAT = "litellm"
TITLE = "LiteLLM configuration"

_OPENAI = "openai-compatible"
# Provider in front of the model's name: the backend, and its address where everybody's is the same.
_PROVIDERS: Mapping[str, tuple[str, str]] = {
    "ollama": ("ollama", ""),
    "ollama_chat": ("ollama", ""),
    "hosted_vllm": ("vllm", ""),
    "vllm": ("vllm", ""),
    "openai": (_OPENAI, "https://api.openai.com/v1"),
    "text-completion-openai": (_OPENAI, "https://api.openai.com/v1"),
    "custom_openai": (_OPENAI, ""),
    "openai_like": (_OPENAI, ""),
    "azure": (_OPENAI, ""),
    "gemini": (_OPENAI, "https://generativelanguage.googleapis.com/v1beta/openai"),
    "lm_studio": (_OPENAI, "http://127.0.0.1:1234/v1"),
    "llamafile": (_OPENAI, "http://127.0.0.1:8080/v1"),
    "openrouter": (_OPENAI, "https://openrouter.ai/api/v1"),
    "groq": (_OPENAI, "https://api.groq.com/openai/v1"),
    "deepseek": (_OPENAI, "https://api.deepseek.com/v1"),
    "mistral": (_OPENAI, "https://api.mistral.ai/v1"),
    "together_ai": (_OPENAI, "https://api.together.xyz/v1"),
    "xai": (_OPENAI, "https://api.x.ai/v1"),
}
_TAKEN = frozenset({"model", "api_base", "base_url", "custom_llm_provider"})
_WORDS = {
    "api_key": "its API key (add it to the server)", "api_version": "the API version", "rpm": "the limit of requests",
    "tpm": "the limit of tokens", "timeout": "timeouts", "stream_timeout": "timeouts", "max_retries": "retries",
    "num_retries": "retries", "temperature": "default sampling values", "max_tokens": "default sampling values",
    "top_p": "default sampling values", "extra_headers": "extra headers", "headers": "extra headers",
}  # fmt: skip
_SECTIONS = {
    "router_settings": "settings of the router", "litellm_settings": "settings of LiteLLM",
    "general_settings": "general settings", "environment_variables": "environment variables",
    "mcp_servers": "tool servers", "guardrails": "guardrails", "vector_store_registry": "vector stores",
}  # fmt: skip
_MODES = {"embedding": ["embeddings"], "rerank": ["rerank"], "chat": ["chat"], "completion": ["completion"]}
_SUPPORTS = {
    "supports_vision": "vision", "supports_function_calling": "tools", "supports_reasoning": "thinking",
    "supports_audio_input": "audio",
}  # fmt: skip


def read(document: Any) -> ImportPlan:
    """Raises ConfigError when the document is not such a configuration."""
    root = mapping(document)
    listed = root.get("model_list")
    if listed is None:
        listed = []
    if not isinstance(listed, list):
        raise wrong("“model_list” must be a list")
    plan = ImportPlan(FORMAT, TITLE)
    for number, each in enumerate(listed, 1):
        entry = _planned(number, mapping(each), plan)
        if entry is None:
            continue
        if any(other.name == entry.name for other in plan.models):
            entry.problem = f"LiteLLM spreads “{entry.name}” over several servers; only the first of them is taken."
        plan.models.append(entry)
    _aliases(plan, root)
    left = [what for key, what in _SECTIONS.items() if root.get(key)]
    if left:
        plan.warnings.append(f"Not carried over: {', '.join(left)}.")
    return plan


def _planned(number: int, each: Mapping[str, Any], plan: ImportPlan) -> PlannedModel | None:
    params = mapping(each.get("litellm_params"))
    model = word(params.get("model"))
    name = word(each.get("model_name")) or model
    if not name:
        plan.warnings.append(f"Entry {number} of model_list has no model_name and was left out.")
        return None
    entry = PlannedModel(name)
    entry.dropped = list(dict.fromkeys(_WORDS.get(key, f"“{key}”") for key in params if key not in _TAKEN))
    if "*" in name or "*" in model:
        entry.problem = "It stands for many models (*); each has to be added by its name."
    elif not model:
        entry.problem = "It does not say which model is meant (litellm_params.model)."
    else:
        _target(entry, model, params)
        _information(entry, mapping(each.get("model_info")))
    return entry


def _target(entry: PlannedModel, model: str, params: Mapping[str, Any]) -> None:
    """The server that LiteLLM sends the model's requests to; it is asked directly from now on."""
    prefix, slash, rest = model.partition("/")
    provider = word(params.get("custom_llm_provider"))
    if slash and prefix in _PROVIDERS:
        provider, served = prefix, rest
    else:
        served = model
    url = word(params.get("api_base")) or word(params.get("base_url"))
    if url.startswith("os.environ/"):
        entry.problem = f"Its address is in the environment variable {url.partition('/')[2]}, which is not read."
        return
    backend, usual = _PROVIDERS.get(provider, (_OPENAI, "") if url and not slash else ("litellm", ""))
    if not served:
        entry.problem = "It does not say which model is meant (litellm_params.model)."
        return
    if backend == "litellm":
        # Only the gateway speaks with this provider, so that the model stays behind it.
        entry.values = {"backend": backend, "served_name": entry.name}
        return
    url = url or usual
    if not url and backend != "ollama":
        entry.problem = f"It names no address (api_base) for “{provider or model}”."
        return
    entry.values = {"backend": backend, "served_name": served, **({"url": url} if url else {})}


def _information(entry: PlannedModel, info: Mapping[str, Any]) -> None:
    if not entry.values:
        return
    capabilities = list(_MODES.get(word(info.get("mode")), []))
    capabilities += [what for key, what in _SUPPORTS.items() if info.get(key) is True]
    if capabilities:
        entry.values["capabilities"] = capabilities if info.get("mode") else ["chat", *capabilities]
    if context := positive(info.get("max_input_tokens")):
        entry.facts["context_length"] = context


def _aliases(plan: ImportPlan, root: Mapping[str, Any]) -> None:
    for section in ("router_settings", "litellm_settings"):
        given = mapping(root.get(section)).get("model_group_alias")
        if given is None:
            continue
        if not isinstance(given, Mapping):
            plan.warnings.append("“model_group_alias” is not a mapping from alias to model, and was left out.")
            continue
        for alias, target in mapping(given).items():
            _alias(plan, alias, target)


def _alias(plan: ImportPlan, alias: str, target: object) -> None:
    if isinstance(target, list):
        plan.warnings.append(
            f"The alias “{alias}” is given as a list, which LiteLLM answers with an error; its first model is taken."
        )
    meant = word(mapping(target).get("model")) if isinstance(target, Mapping) else next(iter(words(target)), "")
    entry = next((each for each in plan.models if each.name == meant and each.values), None)
    if entry is None:
        plan.warnings.append(f"The alias “{alias}” stands for “{meant}”, which the file does not define.")
    elif alias != entry.name:
        entry.values["aliases"] = list(dict.fromkeys([*entry.values.get("aliases", []), alias]))
