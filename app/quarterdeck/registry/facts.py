"""What the files of a model say about it, under the names that the registry uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quarterdeck.registry.gguf import GgufHeader
from quarterdeck.registry.parts import read_model
from quarterdeck.registry.safetensors import FolderHeader, read_folder

GGUF = "gguf"
SAFETENSORS = "safetensors"

_EMBEDDING_ARCHITECTURES = frozenset(
    {
        "bert", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "eurobert",
        "gemma-embedding", "t5encoder",
    }
)  # fmt: skip
_EMBEDDING_POOLING = (1, 2, 3)
_RANK_POOLING = 4

# What other programs call a capability, and what it is called here.
_CAPABILITIES = {
    "text": "chat", "language": "chat", "chat": "chat", "completion": "completion",
    "embedding": "embeddings", "embed": "embeddings", "embeddings": "embeddings", "text-embedding": "embeddings",
    "representation": "embeddings", "rerank": "rerank", "reranking": "rerank", "reranker": "rerank",
    "vision": "vision", "visual": "vision", "image": "vision", "multimodal": "vision", "mm": "vision", "vl": "vision",
    "audio": "audio", "speech": "audio", "voice": "audio", "asr": "audio", "tts": "audio",
    "tools": "tools", "tool": "tools", "tool-use": "tools", "tool-call": "tools", "tool-calls": "tools",
    "toolcalls": "tools", "toolcalling": "tools", "function-call": "tools", "function-calls": "tools",
    "function-calling": "tools", "functioncalling": "tools", "function-tools": "tools", "tool-choice": "tools",
    "toolchoice": "tools", "auto-tool-choice": "tools",
    "thinking": "thinking", "think": "thinking", "reasoning": "thinking", "reason": "thinking", "reasoner": "thinking",
    "cot": "thinking", "chain-of-thought": "thinking",
}  # fmt: skip


FILE_FACTS = (
    "format", "size_bytes", "architecture", "parameter_count", "quantization", "context_length", "has_chat_template",
    "capabilities",
)  # fmt: skip
"""What files state."""


def read_facts(path: Path) -> dict[str, Any]:
    """The facts that the model at `path`, a GGUF file or a folder of safetensors, states (blocking). AppError."""
    if path.is_dir():
        return folder_facts(read_folder(path))
    return file_facts(read_model(path))


def file_facts(header: GgufHeader) -> dict[str, Any]:
    return {
        "format": GGUF,
        "size_bytes": header.size_bytes,
        "architecture": header.architecture,
        "parameter_count": header.parameter_count,
        "quantization": header.quantization,
        "context_length": header.context_length,
        "has_chat_template": header.has_chat_template,
        "capabilities": _file_capabilities(header),
    }


def folder_facts(header: FolderHeader) -> dict[str, Any]:
    return {
        "format": SAFETENSORS,
        "size_bytes": header.size_bytes,
        "architecture": header.architecture,
        "parameter_count": header.parameter_count,
        "quantization": header.quantization,
        "context_length": header.context_length,
        "has_chat_template": header.has_chat_template,
        "capabilities": _folder_capabilities(header),
    }


def clean_capabilities(words: list[str]) -> list[str]:
    """The capabilities under the names used here, each once; words that nobody knows are kept."""
    cleaned = (word.strip().casefold().replace("_", "-") for word in words)
    return list(dict.fromkeys(_CAPABILITIES.get(word, word) for word in cleaned if word))


def _file_capabilities(header: GgufHeader) -> list[str]:
    if header.pooling_type == _RANK_POOLING:
        return ["rerank"]
    if header.architecture in _EMBEDDING_ARCHITECTURES or header.pooling_type in _EMBEDDING_POOLING:
        return ["embeddings"]
    return ["chat"] if header.has_chat_template else ["completion"]


def _folder_capabilities(header: FolderHeader) -> list[str]:
    if header.embeds:
        return ["embeddings"]
    first = "chat" if header.has_chat_template else "completion"
    return [first, "vision"] if header.has_vision else [first]
