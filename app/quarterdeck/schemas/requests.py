"""What becomes of the requests of clients: policies, routes, records, captures and figures."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Operation(StrEnum):
    """What a client asks of a model, whatever its dialect."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"
    IMAGES = "images"


class ToolPolicy(StrEnum):
    """What happens to tools for a model that cannot use them."""

    REFUSE = "refuse"
    STRIP = "strip"
    KEEP = "keep"


class ClientPolicy(BaseModel):
    """How requests for one model are treated. A mitigation that is null is on where the model needs it.

    `defaults` fill the parameters that a request leaves out; those named in `override` win over the request.
    `num_ctx` fixes the context of a model at Ollama for all clients; null takes the context it was loaded with.
    """

    model_config = ConfigDict(extra="forbid")

    fold_system: bool | None = None
    alternate_roles: bool | None = None
    tools: ToolPolicy | None = None
    guard_context: bool | None = None
    emulate_streaming: bool | None = None
    token_limit_name: bool | None = None
    cut_vision_history: bool | None = None
    cut_reasoning_history: bool | None = None
    downscale_images: bool | None = None
    normalise_tools: bool | None = None
    num_ctx: int | None = Field(default=None, ge=1)
    system_prompt: str | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    override: list[str] = Field(default_factory=list)


class MitigationView(BaseModel):
    """One change to requests for a model: what it is called, what it does, and whether it is on."""

    title: str
    sentence: str
    on: bool


class WeightedModel(BaseModel):
    """One of several models that share the requests for a name. Weights are relative and above 0."""

    model_config = ConfigDict(extra="forbid")

    model: str
    weight: float = Field(default=1.0, gt=0)


class CapabilityRule(BaseModel):
    """A word, such as `code`, that can be asked for like a model; the first model that is up answers."""

    model_config = ConfigDict(extra="forbid")

    name: str
    models: list[str] = Field(min_length=1)


class PatternRule(BaseModel):
    """Names that match the regular expression `pattern` from their beginning to their end go to `model`."""

    model_config = ConfigDict(extra="forbid")

    pattern: str
    model: str


class BalanceRule(BaseModel):
    """Requests for `name` are shared among models by weight."""

    model_config = ConfigDict(extra="forbid")

    name: str
    models: list[WeightedModel] = Field(min_length=1)


class FallbackRule(BaseModel):
    """The models that answer instead of `model` (`*` for any) after an error of each class, in order."""

    model_config = ConfigDict(extra="forbid")

    model: str
    error: list[str] = Field(default_factory=list)
    context_window: list[str] = Field(default_factory=list)
    content: list[str] = Field(default_factory=list)


class RoutingRules(BaseModel):
    """All rules of a person about which model answers to which name."""

    model_config = ConfigDict(extra="forbid")

    capabilities: list[CapabilityRule] = Field(default_factory=list)
    patterns: list[PatternRule] = Field(default_factory=list)
    balance: list[BalanceRule] = Field(default_factory=list)
    fallbacks: list[FallbackRule] = Field(default_factory=list)


class RuleProblem(BaseModel):
    """What is wrong with the rules; an error is refused, a warning is only shown. `where` is such as patterns[2]."""

    where: str
    severity: Literal["error", "warning"]
    sentence: str
    hint: str = ""


class RoutingState(BaseModel):
    """The rules, what is doubtful about them, and the model for unknown names."""

    rules: RoutingRules
    problems: list[RuleProblem] = Field(default_factory=list)
    default_model: str = ""


class RouteQuestion(BaseModel):
    """A name to be tried out, as if these backends and models were down."""

    model_config = ConfigDict(extra="forbid")

    model: str
    down: list[str] = Field(default_factory=list)
    needs: list[str] = Field(default_factory=list)


class RouteStep(BaseModel):
    """One rule that was looked at: whether it `fits`, and why or why not in a sentence."""

    rule: str
    fits: bool
    sentence: str


class RouteReport(BaseModel):
    """Where a name leads. `rule` and `model` are null when nothing answers; then `problem` says why.

    `tried` are the models in the order in which they would be tried before the first token.
    """

    asked: str
    rule: str | None = None
    model: str | None = None
    backend: str | None = None
    steps: list[RouteStep] = Field(default_factory=list)
    tried: list[str] = Field(default_factory=list)
    fallbacks: dict[str, list[str]] = Field(default_factory=dict)
    problem: str | None = None


class RequestView(BaseModel):
    """One client request that went through the proxy. Times in milliseconds.

    `asked` is the name that the client wrote; `tried` the models that failed before `model` answered. `dropped` names
    what could not be carried, `applied` the mitigations, `key` the name of the API key.
    """

    id: str
    at: datetime
    path: str
    model: str
    asked: str = ""
    route: str = ""
    backend: str | None = None
    dialect: str = "openai"
    operation: str = "chat"
    status: int
    stream: bool = False
    total_ms: float
    waited_ms: float | None = None
    first_token_ms: float | None = None
    tokens_per_second: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    dropped: list[str] = Field(default_factory=list)
    applied: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    tried: list[str] = Field(default_factory=list)
    key: str | None = None
    client: str | None = None
    captured: bool = False
    error: str | None = None


class Captured(BaseModel):
    """One text of a request on its way. `size` is in bytes; a long text is cut and `cut` says so."""

    text: str
    size: int
    cut: bool = False


class RequestDetail(BaseModel):
    """One request with its four texts, where they were captured: in, to the backend, from it, back to the client."""

    request: RequestView
    original: Captured | None = None
    converted: Captured | None = None
    upstream: Captured | None = None
    answer: Captured | None = None


class ModelFigures(BaseModel):
    """Figures of one model over the newest requests. Times in milliseconds."""

    model: str
    count: int = 0
    errors: int = 0
    avg_ttft_ms: float | None = None
    p95_ttft_ms: float | None = None
    avg_tokens_per_second: float | None = None


class BackendRequests(BaseModel):
    """How many requests a backend answered since the start."""

    total_requests: int = 0
    streaming_requests: int = 0


class MetricsSummary(BaseModel):
    """The answer of `GET /v1/metrics`: the newest 500 requests, and counts since the start. Times as named."""

    schema_version: int = 1
    uptime_seconds: float
    count: int = 0
    avg_ttft_ms: float | None = None
    p95_ttft_ms: float | None = None
    avg_tokens_per_second: float | None = None
    requests_by_backend: dict[str, BackendRequests] = Field(default_factory=dict)
    models: list[ModelFigures] = Field(default_factory=list)
