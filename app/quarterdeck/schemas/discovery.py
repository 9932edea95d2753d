"""What a look around finds: servers that answer and models that lie on disk. Looking never loads anything."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.schemas.backends import BackendKind, Owner


class ServerState(StrEnum):
    """What a probe learned. `unknown`: something answers, but it could not be told that it works."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"
    STARTING = "starting"
    SWITCHING = "switching"
    DEFECT = "defect"


class FoundModel(BaseModel):
    """A model as its source describes it. `name` is the id under which the source knows it.

    `source` is where it was found: `ollama`, `hf_cache`, `folder`, `lm_studio`, `server`, `import`. Sizes in bytes,
    context in tokens. Either `path` (a file, or a folder of safetensors) or `url` (the server that has it) is set.
    `hf_path` is its place on Hugging Face, `signature` changes whenever its files change.
    """

    name: str
    source: str
    backend: BackendKind
    path: str | None = None
    url: str | None = None
    format: str | None = None
    size_bytes: int | None = None
    architecture: str | None = None
    parameter_count: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    has_chat_template: bool | None = None
    capabilities: list[str] = Field(default_factory=list)
    family: str | None = None
    digest: str | None = None
    hf_path: str | None = None
    signature: str | None = None


class FoundServer(BaseModel):
    """A server on this machine or at a configured address, told apart by what it answers.

    `product` is what it says it is (`ollama`, `vllm`, `llama.cpp`, `lm-studio`, `sglang`, `open-webui` …), `kind` the
    backend that can speak with it, or null. `detail` is a sentence for people. `process` is the name of the process
    that owns the port, where the system tells.
    """

    url: str
    product: str
    kind: BackendKind | None = None
    title: str
    state: ServerState
    version: str | None = None
    detail: str | None = None
    owner: Owner = Field(default_factory=Owner)
    pid: int | None = None
    process: str | None = None
    models: list[FoundModel] = Field(default_factory=list)


class VerifyRequest(BaseModel):
    """An address, with or without /v1, to be looked at with a key or without one."""

    model_config = ConfigDict(extra="forbid")

    url: str
    key: str | None = None


class Verification(BaseModel):
    """Whether a language-model server answers at an address and lists its models; `sentence` says what is there."""

    ok: bool
    url: str
    title: str
    kind: BackendKind | None = None
    version: str | None = None
    sentence: str
    models: list[str] = Field(default_factory=list)


class PassedOver(BaseModel):
    """Something that looked like a model and was not taken, with the reason."""

    where: str
    reason: str
    hint: str = ""


class ScanResult(BaseModel):
    """What a scan changed: names of models added, changed and gone, and what was passed over."""

    added: list[str] = Field(default_factory=list)
    changed: list[str] = Field(default_factory=list)
    gone: list[str] = Field(default_factory=list)
    servers: list[FoundServer] = Field(default_factory=list)
    passed_over: list[PassedOver] = Field(default_factory=list)


class Absence(BaseModel):
    """Why a model is not in the list that clients see."""

    name: str
    listed: bool
    reasons: list[str] = Field(default_factory=list)
    hint: str = ""


class ImportAction(StrEnum):
    """What an import does with one entry."""

    ADD = "add"
    CHANGE = "change"
    SAME = "same"
    SKIP = "skip"


class ImportEntry(BaseModel):
    """One entry of an import: what becomes of it, and what of it is not carried over."""

    name: str
    action: ImportAction
    backend: BackendKind | None = None
    where: str | None = None
    changes: dict[str, tuple[object, object]] = Field(default_factory=dict)
    reason: str | None = None
    dropped: list[str] = Field(default_factory=list)


class ImportPreview(BaseModel):
    """What an import would do. `format` names what the text was taken for. `servers` are base URLs it names."""

    format: str
    title: str
    entries: list[ImportEntry] = Field(default_factory=list)
    servers: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)


class FollowedFile(BaseModel):
    """An imported file that is read again when it changes. `gone` are models that it no longer has.

    `error` says why it could not be read the last time.
    """

    path: str
    title: str
    models: list[str] = Field(default_factory=list)
    gone: list[str] = Field(default_factory=list)
    error: str | None = None


class ImportRequest(BaseModel):
    """An import by text or by the path of a file. With `apply` false nothing changes and the preview is the answer.

    `names` restricts the import to these entries; with `follow` the file is read again whenever it changes.
    """

    path: str | None = None
    text: str | None = None
    format: str | None = None
    apply: bool = False
    names: list[str] | None = None
    follow: bool = False
