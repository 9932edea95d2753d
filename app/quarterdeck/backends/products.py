"""The servers that a probe can tell apart, by what they answer. Adding one is an entry and maybe a function.

Every path named here is one that answers at once and costs nothing. Never asked: LiteLLM's /health (a real chat to
every model) and SGLang's /health (generates a token).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quarterdeck.backends import descriptions as tell
from quarterdeck.backends.answers import Answer, Answers
from quarterdeck.backends.descriptions import MODELS, Describe, entries
from quarterdeck.schemas.backends import BackendKind

ROOT = "/"


@dataclass(frozen=True, slots=True)
class Sign:
    """Something by which a product is recognised: what `path` answers passes `test`."""

    path: str
    test: Callable[[Answer], bool]


@dataclass(frozen=True, slots=True)
class Product:
    """A product: `kind` is the backend that speaks with it, or None. Any of its `signs` is enough.

    `look` are further paths that `describe` wants once it is recognised.
    """

    name: str
    title: str
    kind: BackendKind | None
    signs: tuple[Sign, ...]
    look: tuple[str, ...] = ()
    describe: Describe = tell.fixed_models


def _owned_by(owner: str) -> Sign:
    return Sign(MODELS, lambda answer: any(entry.get("owned_by") == owner for entry in entries(answer)))


def _server(start: str) -> Sign:
    return Sign(ROOT, lambda answer: answer.headers.get("server", "").startswith(start))


def _title(path: str, part: str) -> Sign:
    return Sign(path, lambda answer: part in answer.title)


def _text(path: str, exactly: str) -> Sign:
    return Sign(path, lambda answer: answer.status == 200 and answer.text == exactly)


def _field(path: str, name: str, start: str) -> Sign:
    return Sign(path, lambda answer: str(answer.field(name) or "").startswith(start))


def _has(path: str, *names: str) -> Sign:
    return Sign(path, lambda answer: answer.status == 200 and all(answer.field(name) is not None for name in names))


def _metric(start: str) -> Sign:
    """Metrics are open where the API wants a key, and carry the name of the engine."""
    return Sign("/metrics", lambda answer: answer.status == 200 and f"\n{start}".encode() in answer.body)


def _default_model(answer: Answer) -> bool:
    first = next(iter(entries(answer)), {})
    return first.get("id") == "default" and first.get("owned_by") == "local"


_OPENAI = BackendKind.OPENAI_COMPATIBLE

# The order decides where two would match: what answers in another one's name comes first.
PRODUCTS = (
    Product("quarterdeck", "Quarterdeck", _OPENAI, (_owned_by("quarterdeck"),), describe=tell.any_models),
    Product(
        "open-webui", "Open WebUI", None, (_title(ROOT, "Open WebUI"), _field("/api/config", "name", "Open WebUI")),
        ("/api/config",), tell.open_webui,
    ),
    Product("airplay", "AirPlay receiver", None, (_server("AirTunes"),), describe=tell.no_language_model),
    Product(
        "koboldcpp", "KoboldCpp", _OPENAI,
        (_owned_by("koboldcpp"), _field("/api/extra/version", "result", "KoboldCpp")),
        ("/api/extra/version",), tell.kobold,
    ),
    Product(
        "lm-studio", "LM Studio", _OPENAI, (_field(ROOT, "error", "Unexpected endpoint or method"),),
        ("/api/v0/models",), tell.lm_studio,
    ),
    Product(
        "ollama", "Ollama", BackendKind.OLLAMA, (_text(ROOT, "Ollama is running"),),
        ("/api/version", "/api/tags"), tell.ollama,
    ),
    Product("llama-swap", "llama-swap", _OPENAI, (_owned_by("llama-swap"),), ("/running",), tell.llama_swap),
    Product(
        "llama.cpp", "llama.cpp server", BackendKind.LLAMA_SERVER, (_server("llama.cpp"), _owned_by("llamacpp")),
        ("/health", "/props"), tell.llama_cpp,
    ),
    Product(
        "litellm", "LiteLLM", BackendKind.LITELLM,
        (_title(ROOT, "LiteLLM"), _text("/health/liveliness", '"I\'m alive!"')),
        ("/health/readiness",), tell.litellm,
    ),
    Product(
        "sglang", "SGLang", _OPENAI, (_owned_by("sglang"), _has("/get_model_info", "model_path", "is_generation")),
        ("/server_info", "/get_server_info"), tell.sglang,
    ),
    Product(
        "aphrodite", "Aphrodite", _OPENAI, (_owned_by("pygmalionai"), _metric("aphrodite:")),
        ("/version", "/health"), tell.vllm,
    ),
    Product(
        "vllm", "vLLM", BackendKind.VLLM, (_owned_by("vllm"), _metric("vllm:")), ("/version", "/health"), tell.vllm,
    ),
    Product(
        "tabbyapi", "TabbyAPI", _OPENAI, (_owned_by("tabbyAPI"), _title("/docs", "TabbyAPI")),
        ("/health",), tell.tabby,
    ),
    Product(
        "tgi", "Text Generation Inference", _OPENAI,
        (_field("/info", "router", "text-generation-router"), _has("/info", "model_id", "max_total_tokens")),
        ("/info", "/health"), tell.tgi,
    ),
    Product("mistral.rs", "mistral.rs", _OPENAI, (Sign(MODELS, _default_model),), describe=tell.mistral_rs),
    Product(
        "localai", "LocalAI", _OPENAI, (_title(ROOT, "LocalAI"), _has("/system", "backends", "loaded_models")),
        ("/version", "/readyz"), tell.local_ai,
    ),
    Product(
        "llama-cpp-python", "llama-cpp-python", _OPENAI, (_title("/docs", "llama.cpp Python API"),),
        describe=tell.fixed_models,
    ),
    Product(
        "text-generation-webui", "Text generation web UI", _OPENAI, (_has("/v1/internal/model/info", "model_name"),),
        describe=tell.fixed_models,
    ),
)  # fmt: skip

GENERIC = Product("openai-compatible", "OpenAI-compatible server", _OPENAI, (), describe=tell.any_models)
UNKNOWN = Product("other", "Another program", None, (), describe=tell.no_language_model)

FIRST_LOOK = (ROOT, MODELS)


def recognise(answers: Answers) -> Product | None:
    """The first product one of whose signs is there."""
    return next((each for each in PRODUCTS if any(sign.test(answers[sign.path]) for sign in each.signs)), None)


def all_signs() -> list[str]:
    """The paths to ask when the first look did not tell."""
    return [sign.path for product in PRODUCTS for sign in product.signs]


def speaks_openai(answers: Answers) -> bool:
    """Whether there is a model list as OpenAI has it, or one that is only given for a key."""
    models = answers[MODELS]
    if models.status in (401, 403):
        # A server that wants a key for everything is not known to be one of ours.
        return models.field("error") is not None and answers[ROOT].status not in (401, 403)
    body = models.json
    return isinstance(body, dict) and isinstance(body.get("data"), list) and body.get("object", "list") == "list"
