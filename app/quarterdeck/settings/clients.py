"""Settings of what happens to the requests of clients."""

from __future__ import annotations

from quarterdeck.settings.declaring import Group, setting


class ClientSettings(Group):
    """Where requests go, and how long they may take."""

    default_model: str = setting(
        "", label="Model for unknown names", group="Clients",
        text="The model that answers when no name, alias, capability or pattern fits; empty refuses such requests.",
    )  # fmt: skip
    connect_limit: float = setting(
        5.0, label="Longest connect", group="Clients", gt=0, le=600,
        text="Seconds to reach a backend.",
    )  # fmt: skip
    first_token_limit: float = setting(
        300.0, label="Longest wait for the first token", group="Clients", ge=0, le=86400,
        text="Seconds from sending a request to the first byte of its answer; 0 means no limit.",
    )  # fmt: skip
    stream_idle_limit: float = setting(
        120.0, label="Longest silence", group="Clients", ge=0, le=86400,
        text="Seconds without a byte in a running answer; 0 means no limit.",
    )  # fmt: skip
    total_limit: float = setting(
        0.0, label="Longest answer", group="Clients", ge=0, le=604800,
        text="Seconds for a whole answer; 0 means no limit.",
    )  # fmt: skip
    request_retries: int = setting(
        1, label="Retries", group="Clients", ge=0, le=10,
        text="How often another backend is tried before the first token; 0 gives up at the first error.",
    )  # fmt: skip
    failure_threshold: int = setting(
        3, label="Failures until avoided", group="Clients", ge=1, le=100,
        text="Failures in a row after which a backend is avoided for a while where there is another.",
    )  # fmt: skip
    avoid_seconds: float = setting(
        60.0, label="Avoided for", group="Clients", ge=0, le=86400,
        text="Seconds for which a backend that kept failing is avoided.",
    )  # fmt: skip
    shield_probes: bool = setting(
        True, label="Answer probes without loading", group="Clients",
        text="Requests of one token that only ask whether a model is there do not load it.",
    )  # fmt: skip


class RequestSettings(Group):
    """What is changed in requests, so that they work."""

    normalise_tools: bool = setting(
        True, label="Repair tool calls", group="Requests",
        text="Tool calls in an answer get an id, an index and arguments as JSON text.",
    )  # fmt: skip
    vision_truncate_history: bool = setting(
        True, label="Shorten picture conversations", group="Requests", also=("CHAT_PROXY_VISION_TRUNCATE_HISTORY",),
        text="Send only the newest turns of a conversation with pictures.",
    )  # fmt: skip
    vision_keep_system: bool = setting(
        True, label="Keep system messages with pictures", group="Requests", also=("CHAT_PROXY_VISION_KEEP_SYSTEM",),
        text="System messages stay when a conversation with pictures is shortened.",
    )  # fmt: skip
    vision_keep_turns: int = setting(
        0, label="Earlier turns with pictures", group="Requests",
        ge=0, le=1000, also=("CHAT_PROXY_VISION_KEEP_LAST_N_TURNS",),
        text="Turns before the newest message that are kept when a conversation with pictures is shortened.",
    )  # fmt: skip
    reasoning_truncate_history: bool = setting(
        False, label="Shorten reasoning conversations", group="Requests",
        also=("CHAT_PROXY_REASONING_TRUNCATE_HISTORY",),
        text="Send only the newest turns to models that reason.",
    )  # fmt: skip
    reasoning_keep_system: bool = setting(
        True, label="Keep system messages when reasoning", group="Requests",
        also=("CHAT_PROXY_REASONING_KEEP_SYSTEM",),
        text="System messages stay when a reasoning conversation is shortened.",
    )  # fmt: skip
    reasoning_keep_turns: int = setting(
        1, label="Earlier turns when reasoning", group="Requests",
        ge=0, le=1000, also=("CHAT_PROXY_REASONING_KEEP_LAST_N_TURNS",),
        text="Turns before the newest message that are kept when a reasoning conversation is shortened.",
    )  # fmt: skip
    max_image_bytes: int = setting(
        6_000_000, label="Largest picture", group="Requests",
        ge=1000, le=1000000000, also=("CHAT_PROXY_MAX_IMAGE_BYTES",),
        text="Bytes one picture in a request may have.",
    )  # fmt: skip
    downscale_images: bool = setting(
        True, label="Make pictures smaller", group="Requests", also=("CHAT_PROXY_AUTO_DOWNSCALE_IMAGES",),
        text="Scale pictures down before they are sent to the backends named below.",
    )  # fmt: skip
    max_image_edge: int = setting(
        448, label="Longest edge of pictures", group="Requests",
        ge=16, le=16384, also=("CHAT_PROXY_MAX_IMAGE_PIXELS",),
        text="Pixels to which the longer edge of a picture is scaled down.",
    )  # fmt: skip
    image_quality: int = setting(
        85, label="Quality of pictures", group="Requests", ge=10, le=100, also=("CHAT_PROXY_IMAGE_JPEG_QUALITY",),
        text="JPEG quality of pictures that were made smaller.",
    )  # fmt: skip
    downscale_backends: list[str] = setting(
        ["vllm"], label="Backends that get smaller pictures", group="Requests",
        also=("CHAT_PROXY_VISION_DOWNSCALE_BACKENDS",),
        text="Names of the backends for which pictures are made smaller.",
    )  # fmt: skip
    fetch_images: bool = setting(
        True, label="Fetch pictures", group="Requests",
        text="Fetch pictures that a request names by their address, for backends that cannot.",
    )  # fmt: skip
    image_hosts: list[str] = setting(
        [], label="Hosts of pictures", group="Requests",
        text="Host names on this machine or in its network from which pictures may be fetched.",
    )  # fmt: skip
    speech_cache_mib: int = setting(
        64, label="Cache for speech", group="Requests", ge=0, le=65536,
        text="MiB of spoken answers that are kept to be given again; 0 keeps none.",
    )  # fmt: skip


class RecordSettings(Group):
    """What is kept of requests."""

    access_log: bool = setting(
        True, label="Access log", group="Records",
        text="Write one line for each request, without its text.",
    )  # fmt: skip
    access_log_path: str = setting(
        "", label="File of the access log", group="Records", also=("CHAT_PROXY_LOG_PATH",),
        text="Empty means requests.jsonl in the log folder.",
    )  # fmt: skip
    access_log_max_bytes: int = setting(
        10_000_000, label="Size of one log file", group="Records",
        ge=1000, le=10000000000, also=("CHAT_PROXY_MAX_LOG_BYTES",),
        text="Bytes after which a new file is begun.",
    )  # fmt: skip
    access_log_files: int = setting(
        5, label="Earlier log files", group="Records", ge=0, le=1000,
        text="How many earlier files of the access log are kept.",
    )  # fmt: skip
    log_prompts: bool = setting(
        False, label="Log texts", group="Records", also=("CHAT_PROXY_LOG_PROMPTS",),
        text="Write the texts of requests and answers into the access log too.",
    )  # fmt: skip
    capture_requests: bool = setting(
        False, label="Keep requests for inspection", group="Records",
        text="Keep the newest requests and answers in memory, so that the Requests page can show them.",
    )  # fmt: skip
    metrics: bool = setting(
        True, label="Metrics", group="Records", also=("CHAT_PROXY_METRICS_ENABLED",),
        text="Offer /metrics and /v1/metrics.",
    )  # fmt: skip
    telemetry_endpoint: str = setting(
        "", label="OpenTelemetry address", group="Records", also=("OTEL_EXPORTER_OTLP_ENDPOINT",),
        text="Base address of a collector (OTLP over HTTP); needs the extra “telemetry”. Empty sends nothing.",
    )  # fmt: skip
