"""Settings of engines, of loading and of looking around."""

from __future__ import annotations

from typing import Literal

from quarterdeck.settings.declaring import Group, setting


class SchedulingSettings(Group):
    """When models are loaded, and when they leave."""

    load_timeout: int = setting(
        600, label="Longest load", group="Loading", ge=5, le=86400,
        text="Seconds after which a load that is not ready counts as failed.",
    )  # fmt: skip
    keep_alive_delay: float = setting(
        2.0, label="Keep-alive interval", group="Loading", gt=0, le=60,
        text="Seconds between the comments that keep a waiting stream open while its model loads.",
    )  # fmt: skip
    stop_timeout: float = setting(
        3.0, label="Patience when stopping", group="Loading", gt=0, le=60,
        text="Seconds an engine gets to end by itself before it is killed.",
    )  # fmt: skip
    autostart: bool = setting(
        True, label="Load on request", group="Loading", also=("CHAT_PROXY_AUTOSTART_ENABLED",),
        text="Load a model when a client asks for it. Off: only loaded models answer.",
    )  # fmt: skip
    idle_timeout: float = setting(
        0, label="Unload when idle", group="Scheduling", ge=0, le=604800,
        text="Seconds without a request after which a model is unloaded; 0 never. A model may have its own.",
    )  # fmt: skip
    minimum_residence: float = setting(
        0.3, label="Shortest stay", group="Scheduling", ge=0, le=3600,
        text="Seconds a loaded model stays before another one may take its place.",
    )  # fmt: skip
    queue_limit: int = setting(
        100, label="Longest queue", group="Scheduling", ge=1, le=10000,
        text="Requests that may wait for models to load; further ones are refused with Retry-After.",
    )  # fmt: skip
    overtake_limit: int = setting(
        4, label="Overtaking", group="Scheduling", ge=0, le=1000,
        text="How often requests for the loaded model may be served before a waiting model gets its turn.",
    )  # fmt: skip
    release_timeout: float = setting(
        20.0, label="Patience for free memory", group="Scheduling", gt=0, le=600,
        text="Seconds to wait until the GPU memory of an unloaded model is really free.",
    )  # fmt: skip
    cooldown: float = setting(
        15.0, label="Pause after a failure", group="Scheduling", ge=0, le=86400,
        text="Seconds for which a model that failed is not loaded again for clients; doubles with each failure.",
    )  # fmt: skip
    desktop_reserve: float = setting(
        0.5, label="Reserve for the desktop", group="Scheduling", ge=0, le=64,
        text="GiB of GPU memory that models leave free for the screen and other programs.",
    )  # fmt: skip
    yield_to: list[str] = setting(
        [], label="Give way to programs", group="Scheduling",
        text="Names of programs; while one of them runs, models give up the GPU. They come back when it ends.",
    )  # fmt: skip


class EngineSettings(Group):
    """Where engines and models are."""

    discover_at_start: bool = setting(
        True, label="Look around at the start", group="Discovery", restart=True,
        text="Look for running servers and for models when Quarterdeck starts. Nothing is loaded.",
    )  # fmt: skip
    model_folders: list[str] = setting(
        [], label="Model folders", group="Discovery",
        text="Folders that are searched for GGUF files and folders of safetensors.",
    )  # fmt: skip
    scan_caches: bool = setting(
        True, label="Look into known caches", group="Discovery",
        text="Find models in the Hugging Face cache and in LM Studio's folder.",
    )  # fmt: skip
    include_non_installed: bool = setting(
        False, label="Offer models that are not installed", group="Discovery",
        also=("CHAT_PROXY_INCLUDE_NON_INSTALLED",),
        text="List models to clients whose files are missing.",
    )  # fmt: skip
    probe_ports: list[int] = setting(
        [11434, 8000, 8001, 8080, 9931, 4000, 1234, 5000, 30000], label="Ports to look at", group="Discovery",
        text="Loopback ports on which running servers are looked for.",
    )  # fmt: skip
    server_urls: list[str] = setting(
        [], label="OpenAI-compatible servers", group="Discovery", also=("OPENAI_API_BASE_URLS",),
        text="Base addresses of further servers.",
    )  # fmt: skip
    server_keys: list[str] = setting(
        [], label="Keys of these servers", group="Discovery", secret=True, also=("OPENAI_API_KEYS",),
        text="API keys in the order of the addresses; an empty one sends no key.",
    )  # fmt: skip
    ollama_urls: list[str] = setting(
        [], label="Further Ollama servers", group="Discovery", also=("OLLAMA_BASE_URLS",),
        text="Base addresses of Ollama servers besides the main one.",
    )  # fmt: skip
    loopback_alias: str = setting(
        "", label="Name for this machine", group="Discovery", also=("CHAT_PROXY_LOOPBACK_ALIAS",),
        text="Replaces 127.0.0.1 and localhost in server addresses, as needed inside a container.",
    )  # fmt: skip
    autostart_map: str = setting(
        "", label="Start commands", group="Backends", also=("CHAT_PROXY_AUTOSTART_MAP",),
        text='JSON object from model name to {"command": ["program", "argument", …]}: how to start its server.',
    )  # fmt: skip
    ollama_url: str = setting(
        "http://127.0.0.1:11434", label="Ollama", group="Backends",
        also=("IMAGEWORKS_OLLAMA_HOST", "OLLAMA_BASE_URL", "OLLAMA_HOST"),
        text="Address of the Ollama server; it is started there when none answers.",
    )  # fmt: skip
    ollama_command: str = setting(
        "ollama", label="Ollama program", group="Backends", text="Name or path of the ollama program.",
    )  # fmt: skip
    vllm_command: str = setting(
        "vllm", label="vLLM program", group="Backends", text="Name or path of the vllm program.",
    )  # fmt: skip
    vllm_single_port: bool = setting(
        True, label="One port for vLLM", group="Backends", also=("CHAT_PROXY_VLLM_SINGLE_PORT",),
        text="Serve vLLM models one after the other on one fixed port. Off: each gets a free port.",
    )  # fmt: skip
    vllm_port: int = setting(
        24001, label="vLLM port", group="Backends", ge=0, le=65535, also=("CHAT_PROXY_VLLM_PORT",),
        text="The fixed port; 0 takes a free one.",
    )  # fmt: skip
    vllm_state_path: str = setting(
        "", label="vLLM state file", group="Backends", also=("CHAT_PROXY_VLLM_STATE_PATH",),
        text="File that tells other programs which vLLM runs; empty means inside the data folder.",
    )  # fmt: skip
    llama_server_command: str = setting(
        "llama-server", label="llama-server program", group="Backends",
        text="Name or path of the llama-server program.",
    )  # fmt: skip
    litellm_command: str = setting(
        "litellm", label="LiteLLM program", group="Backends", text="Name or path of the litellm program.",
    )  # fmt: skip
    litellm_config: str = setting(
        "", label="LiteLLM configuration", group="Backends",
        text="YAML file with which LiteLLM is started; empty means that it is only attached to.",
    )  # fmt: skip
    litellm_url: str = setting(
        "http://127.0.0.1:4000", label="LiteLLM", group="Backends", text="Address of the LiteLLM gateway.",
    )  # fmt: skip


class HostSettings(Group):
    """This machine and this window."""

    nvml: bool = setting(
        True, label="Read NVIDIA GPUs", group="GPU", restart=True,
        text="Ask NVIDIA's management library for utilisation, memory, temperature and power.",
    )  # fmt: skip
    sample_interval: float = setting(
        1.0, label="Graph interval", group="GPU", ge=0.25, le=60,
        text="Seconds between two points of the graphs.",
    )  # fmt: skip
    database_url: str = setting(
        "", label="Database", group="Storage", restart=True,
        text="SQLAlchemy address of another database; empty means SQLite in the data folder.",
    )  # fmt: skip
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", label="Log level", group="Storage", restart=True, text="How much Quarterdeck writes to its own log.",
    )  # fmt: skip
    theme: Literal["system", "light", "dark"] = setting(
        "system", label="Theme", group="Window", text="Colours of the window.",
    )  # fmt: skip
    close_action: Literal["tray", "minimize", "quit"] = setting(
        "tray", label="Closing the window", group="Window",
        text="What the close button does: keep running in the tray, minimise, or quit. Without a tray it minimises.",
    )  # fmt: skip
