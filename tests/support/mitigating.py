"""Requests and models for tests of the mitigations."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import aiohttp

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.mitigations import Mitigated, mitigate
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import ClientPolicy, Operation
from quarterdeck.settings import Settings

# The chat template of google/gemma-2-9b-it, as vLLM and transformers run it.
GEMMA_2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
    "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)


def model(name: str = "some-model", backend: str = "vllm", *, policy: Fields | None = None, **fields: Any) -> ModelView:
    known = {"served_name": name, "layer": "curated", "created_at": datetime.now(UTC)}
    return ModelView(name=name, backend=backend, client_policy=ClientPolicy(**(policy or {})), **{**known, **fields})


def chat(*messages: Fields | tuple[str, Any], stream: bool = False, **fields: Any) -> Asked:
    said = [each if isinstance(each, dict) else {"role": each[0], "content": each[1]} for each in messages]
    return Asked(Operation.CHAT, {"model": "m", "messages": said, **fields}, stream)


def picture(url: str, alt: str | None = None) -> Fields:
    return {"type": "image_url", "image_url": {"url": url}} | ({"alt_text": alt} if alt else {})


async def mended(asked: Asked, view: ModelView, **settings: Any) -> Mitigated:
    async with aiohttp.ClientSession() as http:
        return await mitigate(asked, view, settings=Settings(**settings), http=http)


def mended_now(asked: Asked, view: ModelView, **settings: Any) -> Mitigated:
    """The same for tests that are not coroutines."""
    return asyncio.run(mended(asked, view, **settings))


def said(result: Mitigated) -> list[tuple[str, Any]]:
    return [(message["role"], message.get("content")) for message in result.asked.fields["messages"]]
