"""Clients as their users have them, each behind the same small interface."""

from __future__ import annotations

from client_cells import RealClient

from real_clients.anthropic_sdk import AnthropicClient
from real_clients.curl import CurlAnthropic, CurlChat, CurlOllama, CurlResponses
from real_clients.langchain_sdk import LangChainChat, LangChainResponses
from real_clients.litellm_sdk import LiteLLMAnthropic, LiteLLMChat, LiteLLMOllama, LiteLLMResponses
from real_clients.llm_command import LlmChat, LlmResponses
from real_clients.ollama_sdk import OllamaClient
from real_clients.openai_sdk import OpenAIChat, OpenAIResponses

CLIENTS: tuple[type[RealClient], ...] = (
    OpenAIChat, OpenAIResponses, OllamaClient, AnthropicClient, LangChainChat, LangChainResponses, LlmChat,
    LlmResponses, LiteLLMChat, LiteLLMResponses, LiteLLMOllama, LiteLLMAnthropic, CurlChat, CurlResponses, CurlOllama,
    CurlAnthropic,
)  # fmt: skip
