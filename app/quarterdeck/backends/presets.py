"""OpenAI-compatible servers that people add by name: what they are, their usual address and where to read more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """`base_url` may hold a part in capital letters that is to be replaced. `needs_key`: nothing works without one."""

    name: str
    title: str
    base_url: str
    docs: str
    needs_key: bool = False


PRESETS = (
    Preset("lm-studio", "LM Studio", "http://127.0.0.1:1234", "https://lmstudio.ai/docs/developer"),
    Preset("tgi", "Text Generation Inference", "http://127.0.0.1:8080",
           "https://huggingface.co/docs/text-generation-inference"),
    Preset("sglang", "SGLang", "http://127.0.0.1:30000", "https://docs.sglang.ai"),
    Preset("tabbyapi", "TabbyAPI", "http://127.0.0.1:5000", "https://github.com/theroyallab/tabbyAPI/wiki",
           needs_key=True),
    Preset("aphrodite", "Aphrodite", "http://127.0.0.1:2242", "https://aphrodite.pygmalion.chat"),
    Preset("localai", "LocalAI", "http://127.0.0.1:8080", "https://localai.io"),
    Preset("mistral-rs", "mistral.rs", "http://127.0.0.1:1234", "https://ericlbuehler.github.io/mistral.rs/"),
    Preset("vllm", "vLLM (already running)", "http://127.0.0.1:8000", "https://docs.vllm.ai"),
    Preset("openai", "OpenAI", "https://api.openai.com", "https://platform.openai.com/docs/api-reference",
           needs_key=True),
    Preset("azure", "Azure OpenAI", "https://RESOURCE.openai.azure.com/openai/v1?api-version=preview",
           "https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle", needs_key=True),
    Preset("gemini", "Google Gemini", "https://generativelanguage.googleapis.com/v1beta/openai",
           "https://ai.google.dev/gemini-api/docs/openai", needs_key=True),
)  # fmt: skip
