"""Messages of the hub as Ollama has them."""

from __future__ import annotations

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.dialects.ollama_words import arguments_object, invalid, objects, text

_ROLES = {"developer": "system", "function": "tool"}


def messages(entries: list[Fields]) -> tuple[list[Fields], list[str]]:
    """The messages for /api/chat, and the names of what Ollama has no word for. Raises AppError (400)."""
    names: dict[str, str] = {}
    dropped: list[str] = []
    return [_message(entry, names, dropped) for entry in entries], list(dict.fromkeys(dropped))


def _message(entry: Fields, names: dict[str, str], dropped: list[str]) -> Fields:
    role = text(entry.get("role"), "role") or "user"
    words, images = _content(entry.get("content"), dropped)
    message: Fields = {"role": _ROLES.get(role, role), "content": words or text(entry.get("refusal"), "refusal")}
    if images:
        message["images"] = images
    thinking = entry.get("reasoning_content") or entry.get("reasoning")
    if isinstance(thinking, str) and thinking:
        message["thinking"] = thinking
    if calls := _calls(entry, names):
        message["tool_calls"] = calls
    if message["role"] == "tool":
        _result(entry, message, names)
    elif entry.get("name"):
        dropped.append("messages.name")
    return message


def _content(content: object, dropped: list[str]) -> tuple[str, list[str]]:
    if content is None or isinstance(content, str):
        return content or "", []
    words: list[str] = []
    images: list[str] = []
    for part in objects(content, "content"):
        match part:
            case {"type": "text", "text": str(said)} | {"type": "refusal", "refusal": str(said)}:
                words.append(said)
            case {"type": "image_url", "image_url": str(url) | {"url": str(url)}}:
                images.append(_image(url))
            case _:
                dropped.append(f"messages.content.{part.get('type')}")
    return "\n".join(words), images


def _image(url: str) -> str:
    """The base64 of a data URL; Ollama reads nothing else."""
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return data
    if url.startswith(("http://", "https://")):
        raise AppError(
            "image_not_readable",
            "Ollama cannot fetch pictures from addresses.",
            "Send the picture itself, as a data URL in base64.",
        )
    raise invalid("A picture is no data URL in base64.", "Send it as data:image/png;base64,…")


def _calls(entry: Fields, names: dict[str, str]) -> list[Fields]:
    calls = objects(entry.get("tool_calls"), "tool_calls")
    if not calls and isinstance(entry.get("function_call"), dict):
        calls = [{"function": entry["function_call"]}]
    made: list[Fields] = []
    for index, call in enumerate(calls):
        function = call.get("function")
        if not isinstance(function, dict):
            raise invalid("Every entry of “tool_calls” needs a “function”.")
        name, key = text(function.get("name"), "name"), call.get("id")
        arguments = arguments_object(function.get("arguments"))
        spoken: Fields = {"function": {"index": index, "name": name, "arguments": arguments}}
        if isinstance(key, str) and key:
            names[key] = name
            spoken = {"id": key} | spoken
        made.append(spoken)
    return made


def _result(entry: Fields, message: Fields, names: dict[str, str]) -> None:
    """A tool's result names the call, and the tool, whose name Ollama's templates want."""
    key = text(entry.get("tool_call_id"), "tool_call_id")
    if name := text(entry.get("name"), "name") or names.get(key, ""):
        message["tool_name"] = name
    if key:
        message["tool_call_id"] = key
