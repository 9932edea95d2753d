"""OpenAI-compatible servers that people add by name: what they are, their usual address and where to read more."""

from __future__ import annotations

from quarterdeck.schemas.backends import BackendKind, ServerPreset

PRESETS = (
    ServerPreset(
        name="lm-studio", title="LM Studio", kind=BackendKind.OPENAI_COMPATIBLE,
        url="http://127.0.0.1:1234",
        hint="More: https://lmstudio.ai/docs/developer",
    ),
    ServerPreset(
        name="tgi", title="Text Generation Inference", kind=BackendKind.OPENAI_COMPATIBLE,
        url="http://127.0.0.1:8080",
        hint="More: https://huggingface.co/docs/text-generation-inference",
    ),
    ServerPreset(
        name="sglang", title="SGLang", kind=BackendKind.OPENAI_COMPATIBLE,
        url="http://127.0.0.1:30000",
        hint="More: https://docs.sglang.ai",
    ),
    ServerPreset(
        name="tabbyapi", title="TabbyAPI", kind=BackendKind.OPENAI_COMPATIBLE,
        url="http://127.0.0.1:5000",
        hint="Needs a key. More: https://github.com/theroyallab/tabbyAPI/wiki",
    ),
    ServerPreset(
        name="aphrodite", title="Aphrodite", kind=BackendKind.OPENAI_COMPATIBLE,
        url="http://127.0.0.1:2242",
        hint="More: https://aphrodite.pygmalion.chat",
    ),
    ServerPreset(
        name="localai", title="LocalAI", kind=BackendKind.OPENAI_COMPATIBLE,
        url="http://127.0.0.1:8080",
        hint="More: https://localai.io",
    ),
    ServerPreset(
        name="mistral-rs", title="mistral.rs", kind=BackendKind.OPENAI_COMPATIBLE,
        url="http://127.0.0.1:1234",
        hint="More: https://ericlbuehler.github.io/mistral.rs/",
    ),
    ServerPreset(
        name="vllm", title="vLLM (already running)", kind=BackendKind.VLLM,
        url="http://127.0.0.1:8000",
        hint="More: https://docs.vllm.ai",
    ),
    ServerPreset(
        name="openai", title="OpenAI", kind=BackendKind.OPENAI_COMPATIBLE,
        url="https://api.openai.com",
        hint="Needs a key. More: https://platform.openai.com/docs/api-reference",
    ),
    ServerPreset(
        name="azure", title="Azure OpenAI", kind=BackendKind.OPENAI_COMPATIBLE,
        url="https://RESOURCE.openai.azure.com/openai/v1?api-version=preview",
        hint="Replace RESOURCE by the name of yours. Needs a key. More: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
    ),
    ServerPreset(
        name="gemini", title="Google Gemini", kind=BackendKind.OPENAI_COMPATIBLE,
        url="https://generativelanguage.googleapis.com/v1beta/openai",
        hint="Needs a key. More: https://ai.google.dev/gemini-api/docs/openai",
    ),
)  # fmt: skip
