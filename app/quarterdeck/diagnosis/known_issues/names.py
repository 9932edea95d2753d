"""What services are called, and whether a version is one of those meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_ALSO = {
    "webui": "open-webui",
    "openwebui": "open-webui",
    "owui": "open-webui",
    "llamacpp": "llama.cpp",
    "llama-cpp": "llama.cpp",
    "llama-server": "llama.cpp",
    "embedded": "llama.cpp",
    "chat-ui": "chatui",
    "huggingface-chatui": "chatui",
    "exllama": "exllamav2",
    "exllama2": "exllamav2",
    "tabby": "tabbyapi",
    "tts": "openedai-speech",
    "comfy": "comfyui",
    "host-driver": "host",
    "machine": "host",
    "text-generation-inference": "tgi",
}
_LIMIT = re.compile(r"(<=|>=|<|>|==)\s*(\S+)")


def service(name: str) -> str:
    """One name for a service, however it is written: `webui`, `Open WebUI` and `open_webui` are the same."""
    plain = re.sub(r"[\s_]+", "-", name.strip().strip("`").lower())
    return _ALSO.get(plain, plain)


def services(names: Iterable[str]) -> frozenset[str]:
    """All that is named; one text may name several, as in `exllamav2/tabbyapi`."""
    parts = (part for name in names for part in re.split(r"[/,+]| x | and ", name))
    return frozenset(service(part) for part in parts if part.strip())


def is_affected(limits: Mapping[str, str], versions: Mapping[str, str]) -> bool | None:
    """Whether all versions that are known are meant by the limits, such as `>=0.3 <0.6.41`; None if none is known."""
    known = {service(name): _numbers(version) for name, version in versions.items() if _numbers(version)}
    limited = [(known[service(name)], limit) for name, limit in limits.items() if service(name) in known]
    return all(_within(version, limit) for version, limit in limited) if limited else None


def is_limit(text: str) -> bool:
    return bool(text.strip()) and not _LIMIT.sub("", text).strip()


def _within(version: tuple[int, ...], limit: str) -> bool:
    return all(_compare(version, sign, _numbers(bound)) for sign, bound in _LIMIT.findall(limit))


def _compare(version: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    length = max(len(version), len(bound))
    left, right = (each + (0,) * (length - len(each)) for each in (version, bound))
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right, "==": left == right}[sign]


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: 0.6.41 of `v0.6.41-rc1`, 10488 of `b10488`."""
    found = re.search(r"\d{1,9}(?:\.\d{1,9})*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()
