"""The options of `vllm serve` that a load_config may hold. Names are vLLM's own, with underscores."""

from __future__ import annotations

from dataclasses import replace

from quarterdeck.backends.options import EXTRA_ARGS, Option

KV_DTYPES = (
    "auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla", "fp8_per_token_head",
    "int8_per_token_head", "int4_per_token_head", "nvfp4",
)  # fmt: skip

OURS = ("--model", "--host", "--port", "--served-model-name", "--api-key", "--uds", "--config")
"""What Quarterdeck sets itself, or what would let requests pass it by."""


def _switch(name: str, text: str, *also: str) -> Option:
    dashes = name.replace("_", "-")
    return Option(name, "switch", text, also=also, flag=f"--{dashes}", off=f"--no-{dashes}")


_NAMED = (
    Option("max_model_len", "integer", "Context length in tokens; -1 takes the most that fits.", -1, 16_777_216,
           also=("n_ctx", "context_length")),
    Option("gpu_memory_utilization", "number", "Share of the GPU memory that vLLM claims.", 0.01, 1.0,
           also=("device_memory_utilization",)),
    Option("kv_cache_memory_bytes", "integer", "Bytes for the KV cache, instead of a share of the memory.", 1),
    Option("tensor_parallel_size", "integer", "GPUs over which each layer is split.", 1, 1024),
    Option("pipeline_parallel_size", "integer", "GPUs over which the layers are spread.", 1, 1024),
    Option("data_parallel_size", "integer", "Copies of the model.", 1, 1024),
    Option("dtype", "choice", "Number format of the weights.",
           choices=("auto", "bfloat16", "float16", "half", "float32", "float")),
    Option("quantization", "text", "How the weights are quantised; normally the model says it."),
    Option("kv_cache_dtype", "choice", "Number format of the KV cache.", choices=KV_DTYPES),
    Option("max_num_seqs", "integer", "Requests answered side by side at most.", 1, 65_536, also=("n_parallel",)),
    Option("max_num_batched_tokens", "integer", "Tokens computed at once at most.", 1, 16_777_216),
    Option("block_size", "integer", "Tokens per block of the KV cache.", 1, 65_536),
    Option("num_gpu_blocks_override", "integer", "Blocks of the KV cache, whatever would fit.", 1),
    Option("cpu_offload_gb", "number", "GiB of weights kept in main memory, per GPU.", 0, 65_536),
    Option("kv_offloading_size", "number", "GiB of main memory for parts of the KV cache.", 0, 65_536),
    Option("swap_space", "number", "GiB of main memory for requests that wait; older versions only.", 0, 65_536),
    Option("load_format", "text", "Format of the weight files."),
    Option("tokenizer", "path", "Tokenizer, where it is not with the model."),
    Option("tokenizer_mode", "text", "Kind of tokenizer."),
    Option("revision", "text", "Version of the model on the hub."),
    Option("hf_config_path", "path", "Model configuration, where it is not with the model."),
    Option("hf_overrides", "object", "Values that replace those of the model's configuration."),
    Option("config_format", "text", "Format of the model's configuration."),
    Option("generation_config", "text", "Where default sampling values come from; “vllm” ignores the model's."),
    Option("override_generation_config", "object", "Default sampling values."),
    Option("runner", "choice", "What the model is run for.", choices=("auto", "generate", "pooling", "draft")),
    Option("convert", "choice", "Turn the model into one for another task.",
           choices=("auto", "none", "embed", "classify")),
    Option("task", "choice", "What the model is run for; older versions only.",
           choices=("auto", "generate", "embed", "embedding", "classify", "score", "reward", "transcription")),
    Option("pooler_config", "object", "How token vectors become one."),
    Option("model_impl", "choice", "Whose code runs the model.",
           choices=("auto", "vllm", "transformers", "terratorch")),
    Option("attention_backend", "text", "Implementation of attention."),
    Option("seed", "integer", "Start value of the random numbers.", 0, 2**63 - 1),
    Option("max_logprobs", "integer", "Log probabilities per token that may be asked for; -1 all.", -1, 1_000_000),
    Option("chat_template", "text", "Chat template, as a file or as text."),
    Option("chat_template_content_format", "choice", "How messages are handed to the chat template.",
           choices=("auto", "string", "openai")),
    Option("default_chat_template_kwargs", "object", "Values for the chat template, such as enable_thinking."),
    Option("tool_call_parser", "text", "How tool calls are read from this model family's text."),
    Option("tool_parser_plugin", "path", "File with a further tool parser."),
    Option("reasoning_parser", "text", "How thinking is told from the answer."),
    Option("limit_mm_per_prompt", "object", "Images, videos and sounds per request, by kind."),
    Option("mm_processor_kwargs", "object", "Values for the processor of images and sounds."),
    Option("allowed_local_media_path", "path", "Folder whose images and sounds requests may name."),
    Option("speculative_config", "object", "Draft model or method for speculative decoding."),
    Option("compilation_config", "object", "How the model is compiled."),
    Option("optimization_level", "integer", "0 starts fastest, 3 runs fastest.", 0, 3),
    Option("performance_mode", "choice", "What to favour.", choices=("balanced", "interactivity", "throughput")),
    Option("distributed_executor_backend", "choice", "How workers are run.",
           choices=("mp", "ray", "uni", "external_launcher")),
    Option("lora_modules", "texts", "LoRA adapters, each as name=path."),
    Option("max_loras", "integer", "LoRA adapters used at once.", 1, 10_000),
    Option("max_lora_rank", "integer", "Largest rank of a LoRA adapter.", 1, 512),
    Option("stream_interval", "integer", "Tokens per piece of a streamed answer.", 1, 10_000),
    Option("uvicorn_log_level", "choice", "How much its web server logs.",
           choices=("critical", "error", "warning", "info", "debug", "trace")),
    Option("structured_outputs_config", "object", "How answers are held to a schema."),
    Option("additional_config", "object", "Values for a platform's own extension."),
)  # fmt: skip

_SWITCHES = (
    _switch("enforce_eager", "Do without compilation and CUDA graphs: starts sooner, runs slower."),
    _switch("enable_prefix_caching", "Keep the KV cache of common beginnings.", "prefix_caching"),
    _switch("enable_chunked_prefill", "Compute long prompts in pieces."),
    _switch("async_scheduling", "Prepare the next step while the GPU works."),
    _switch("trust_remote_code", "Run code that comes with the model."),
    _switch("enable_auto_tool_choice", "Let the model decide when to call tools; needs tool_call_parser."),
    _switch("enable_expert_parallel", "Spread the experts over the GPUs."),
    _switch("enable_lora", "Use LoRA adapters."),
    _switch("language_model_only", "Leave out the parts for images and sounds."),
    _switch("disable_sliding_window", "Let every layer see no more than the window."),
    _switch("skip_tokenizer_init", "Take and give token numbers only."),
    _switch("enable_sleep_mode", "Let the model sleep: memory is given back, waking is quick."),
    _switch("enable_log_requests", "Log every request."),
    _switch("enable_prompt_tokens_details", "Tell how many tokens of a prompt were cached."),
    replace(_switch("disable_log_stats", "Do not log throughput."), off=""),
)

_NOT_FOR_VLLM = (
    Option("sleep_level", "integer", "1 keeps the weights in main memory while asleep, 2 reads them again.", 1, 2),
    Option("served_names", "texts", "Further names under which the server answers."),
    Option("env", "pairs", "Environment variables for the engine, such as VLLM_CPU_KVCACHE_SPACE."),
)

OPTIONS = (
    *(replace(each, flag=f"--{each.name.replace('_', '-')}") for each in _NAMED),
    *_SWITCHES,
    *_NOT_FOR_VLLM,
    EXTRA_ARGS,
)
