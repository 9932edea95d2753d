"""Which engine or client a log is from, however it is spelled."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Programs that run the code of another and write its words.
_BUILT_ON = {
    "embedded": "llamacpp",
    "llamaserver": "llamacpp",
    "llamacli": "llamacpp",
    "llamacpppython": "llamacpp",
    "iklama": "llamacpp",
    "ikllama": "llamacpp",
    "ikllamacpp": "llamacpp",
    "koboldcpp": "llamacpp",
    "lmstudio": "llamacpp",
    "llamafile": "llamacpp",
    "llamaswap": "llamacpp",
    "ollama": "llamacpp",
    "localai": "llamacpp",
    "aphrodite": "vllm",
    "textgenerationinference": "tgi",
    "exllamav2": "exllama",
    "exllamav3": "exllama",
    "tabbyapi": "exllama",
    "openwebui": "openwebui",
}


def _names(text: str) -> set[str]:
    parts = re.split(r"[/,;+&|()]+|\s+and\s+", text.lower())
    return {name for part in parts if (name := re.sub(r"[^a-z0-9]", "", part))}


def speaks_for(wanted: Iterable[str], service: str) -> bool:
    """Whether a rule that is for the services `wanted` may hold for a log of `service`: always where one is empty."""
    have = _names(service)
    have |= {_BUILT_ON[name] for name in have if name in _BUILT_ON}
    names = {name for text in wanted for name in _names(text)}
    return not have or not names or bool(have & names)
