"""What the answers of a recognised server say: its state, its version and its models."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from quarterdeck.backends.answers import Answer, Answers
from quarterdeck.backends.ollama_options import is_variant
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundModel, ServerState

MODELS = "/v1/models"
WANTS_KEY = "It runs, but wants an API key: not validated."
WANTS_KEY_FOR_ALL = "It wants a key for everything: what it is cannot be told."
REFUSES_KEY = "It runs, but refuses the API key."
_SIZES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_VERSION = re.compile(r"v?\d[\w.+-]*")


class Description(NamedTuple):
    """`detail` is a sentence for people where there is something to say."""

    state: ServerState
    detail: str | None = None
    version: str | None = None
    models: tuple[FoundModel, ...] = ()


Describe = Callable[[Answers, BackendKind], Description]


def entries(answer: Answer) -> list[dict[str, Any]]:
    """The entries of an OpenAI model list; empty where it is none."""
    return _objects(answer.field("data"))


def fixed_models(answers: Answers, kind: BackendKind) -> Description:
    """A server that holds the models it was started with: without one it is of no use."""
    said = any_models(answers, kind)
    if said.state is ServerState.UP and not said.models:
        return said._replace(state=ServerState.DEFECT, detail="It runs, but it serves no model.")
    return said


def any_models(answers: Answers, kind: BackendKind) -> Description:
    """A server whose model list may be empty for now."""
    models = answers[MODELS]
    if (problem := _refusal(models)) is not None:
        return problem
    found = tuple(_openai_model(entry, answers.url, kind) for entry in entries(models) if _name(entry, "id"))
    return Description(ServerState.UP, None if found else "It has no models yet.", None, found)


def ollama(answers: Answers, kind: BackendKind) -> Description:
    tags = answers["/api/tags"]
    version = _version(answers["/api/version"])
    if (problem := _refusal(tags)) is not None:
        return problem._replace(version=version)
    listed = [entry for entry in _objects(tags.field("models")) if _name(entry, "name")]
    found = tuple(_ollama_model(entry, answers.url, kind) for entry in listed if not is_variant(entry["name"]))
    return Description(ServerState.UP, None if found else "It has no models yet.", version, found)


def vllm(answers: Answers, kind: BackendKind) -> Description:
    """vLLM and its relatives: alive is only the front; /health tells of the engine behind it."""
    said = fixed_models(answers, kind)._replace(version=_version(answers["/version"]))
    health = answers["/health"].status
    if health >= 500 and said.state is not ServerState.STARTING:
        return said._replace(
            state=ServerState.DEFECT, detail=f"It answers, but its engine has failed (/health says {health})."
        )
    return said


def llama_cpp(answers: Answers, kind: BackendKind) -> Description:
    """One model, or a router whose models are loaded one after the other."""
    health, props = answers["/health"], answers["/props"]
    if health.status == 503:
        return Description(ServerState.STARTING, "It is loading its model.")
    said = any_models(answers, kind)
    if said.state is not ServerState.UP:
        return said
    listed = entries(answers[MODELS])
    statuses = {str(_at(entry, "status", "value")): str(entry.get("id")) for entry in listed if "status" in entry}
    if "loading" in statuses:
        return said._replace(state=ServerState.SWITCHING, detail=f"It is loading {statuses['loading']}.")
    version = props.field("build_info")
    if props.field("is_sleeping") is True:
        said = said._replace(detail="It sleeps until the next request.")
    if isinstance(props.field("chat_template"), str) and not statuses:
        has_template = bool(props.field("chat_template"))
        said = said._replace(
            models=tuple(model.model_copy(update={"has_chat_template": has_template}) for model in said.models)
        )
    return said._replace(version=version if isinstance(version, str) else None)


def litellm(answers: Answers, kind: BackendKind) -> Description:
    said = any_models(answers, kind)
    version = answers["/health/readiness"].field("litellm_version")
    if said.state is ServerState.UP and not said.models:
        said = said._replace(state=ServerState.DEFECT, detail="It runs, but its configuration lists no model.")
    return said._replace(version=version if isinstance(version, str) else None)


def lm_studio(answers: Answers, kind: BackendKind) -> Description:
    """LM Studio answers 200 to everything, so only the form of its own list counts."""
    said = any_models(answers, kind)
    listed = entries(answers["/api/v0/models"])
    if said.state is not ServerState.UP or not listed:
        return said
    found = tuple(_lm_studio_model(entry, answers.url, kind) for entry in listed if _name(entry, "id"))
    return said._replace(models=found, detail=None)


def sglang(answers: Answers, kind: BackendKind) -> Description:
    version = answers["/server_info"].field("version") or answers["/get_server_info"].field("version")
    return fixed_models(answers, kind)._replace(version=version if isinstance(version, str) else None)


def tgi(answers: Answers, kind: BackendKind) -> Description:
    info = answers["/info"]
    version = info.field("version")
    name, context = info.field("model_id"), info.field("max_total_tokens")
    if answers["/health"].status >= 500:
        return Description(ServerState.DEFECT, "It answers, but its model does not.")
    if not isinstance(name, str):
        return fixed_models(answers, kind)
    model = FoundModel(
        name=name, source="server", backend=kind, url=answers.url, context_length=_whole(context),
        capabilities=["chat"],
    )  # fmt: skip
    return Description(ServerState.UP, None, version if isinstance(version, str) else None, (model,))


def tabby(answers: Answers, kind: BackendKind) -> Description:
    health = answers["/health"]
    said = any_models(answers, kind)
    if health.field("status") == "unhealthy":
        return said._replace(state=ServerState.DEFECT, detail="It says that it is not healthy; its log tells why.")
    return said


def local_ai(answers: Answers, kind: BackendKind) -> Description:
    if answers["/readyz"].status == 503:
        return Description(ServerState.STARTING, "It is starting.")
    return any_models(answers, kind)._replace(version=_version(answers["/version"]))


def kobold(answers: Answers, kind: BackendKind) -> Description:
    return fixed_models(answers, kind)._replace(version=_version(answers["/api/extra/version"]))


def mistral_rs(answers: Answers, kind: BackendKind) -> Description:
    """Its first entry, “default”, is another name for one of the others."""
    said = fixed_models(answers, kind)
    real = tuple(model for model in said.models if model.name != "default")
    return said._replace(models=real or said.models)


def llama_swap(answers: Answers, kind: BackendKind) -> Description:
    said = any_models(answers, kind)
    running = _objects(answers["/running"].field("running"))
    starting = next((str(each.get("model")) for each in running if each.get("state") == "starting"), None)
    if said.state is ServerState.UP and starting is not None:
        return said._replace(state=ServerState.SWITCHING, detail=f"It is loading {starting}.")
    return said


def open_webui(answers: Answers, _kind: BackendKind) -> Description:
    return Description(
        ServerState.UP, "A chat page for people: it uses language models and serves none.",
        _version(answers["/api/config"]),
    )  # fmt: skip


def no_language_model(answers: Answers, _kind: BackendKind) -> Description:
    if answers[MODELS].status in (401, 403):
        return Description(ServerState.UNKNOWN, WANTS_KEY_FOR_ALL)
    return Description(ServerState.UNKNOWN, "It answers, but it is no language-model server.")


def _refusal(models: Answer) -> Description | None:
    """What keeps the model list from being given; None when it was given."""
    if models.status in (401, 403):
        return Description(ServerState.UNKNOWN, WANTS_KEY)
    if models.status == 503:
        return Description(ServerState.STARTING, "It is starting: it answers, but is not ready yet.")
    if models.status >= 500:
        return Description(ServerState.DEFECT, f"It runs, but its model list fails (status {models.status}).")
    if models.status != 200:
        return Description(ServerState.UNKNOWN, f"It answers, but gives no model list (status {models.status}).")
    return None


def _openai_model(entry: dict[str, Any], url: str, kind: BackendKind) -> FoundModel:
    meta = entry.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    contexts = (entry.get("max_model_len"), meta.get("n_ctx_train"), entry.get("context_length"))
    inputs = _at(entry, "architecture", "input_modalities")
    return FoundModel(
        name=str(entry["id"]),
        source="server",
        backend=kind,
        url=url,
        size_bytes=_whole(meta.get("size")),
        parameter_count=_whole(meta.get("n_params")),
        quantization=meta["ftype"] if isinstance(meta.get("ftype"), str) else None,
        context_length=next((size for size in map(_whole, contexts) if size), None),
        capabilities=["vision"] if isinstance(inputs, list) and "image" in inputs else [],
    )


def _ollama_model(entry: dict[str, Any], url: str, kind: BackendKind) -> FoundModel:
    return FoundModel(
        name=entry["name"],
        source="ollama",
        backend=kind,
        url=url,
        format=_text(_at(entry, "details", "format")),
        size_bytes=_whole(entry.get("size")),
        architecture=_text(_at(entry, "details", "family")),
        parameter_count=_count(_at(entry, "details", "parameter_size")),
        quantization=_text(_at(entry, "details", "quantization_level")),
        family=_text(_at(entry, "details", "family")),
        digest=_text(entry.get("digest")),
    )


def _lm_studio_model(entry: dict[str, Any], url: str, kind: BackendKind) -> FoundModel:
    capabilities = {"embeddings": ["embeddings"], "vlm": ["chat", "vision"]}.get(str(entry.get("type")), ["chat"])
    return FoundModel(
        name=str(entry["id"]),
        source="server",
        backend=kind,
        url=url,
        format=_text(entry.get("compatibility_type")),
        architecture=_text(entry.get("arch")),
        quantization=_text(entry.get("quantization")),
        context_length=_whole(entry.get("max_context_length")),
        capabilities=capabilities,
    )


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _name(entry: dict[str, Any], key: str) -> bool:
    return isinstance(entry.get(key), str) and bool(entry[key])


def _at(entry: object, *path: str) -> object:
    for key in path:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    """A number such as “134.52M” as a whole one."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([KMBT])", value.strip().upper()) if isinstance(value, str) else None
    return round(float(match[1]) * _SIZES[match[2]]) if match else None


def _version(answer: Answer) -> str | None:
    said = answer.field("version")
    match = _VERSION.match(said) if isinstance(said, str) else None
    return match.group(0) if match else None
