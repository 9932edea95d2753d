"""The options of llama.cpp that the built-in engine and llama-server have in common, under the same names."""

from __future__ import annotations

from quarterdeck.backends.options import Option

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")

SHARED = (
    Option("n_ctx", "integer", "Context length in tokens; 0 takes the model's own.", 0, 16_777_216,
           also=("ctx_size", "context_length"), flag="--ctx-size"),
    Option("n_gpu_layers", "integer", "Layers kept on the GPU; -1 lets the engine decide.", -1, 10_000,
           also=("gpu_layers", "ngl"), flag="--n-gpu-layers"),
    Option("n_threads", "integer", "Processor threads for generation.", 1, 1024, also=("threads",), flag="--threads"),
    Option("n_threads_batch", "integer", "Processor threads for reading the prompt.", 1, 1024,
           also=("threads_batch",), flag="--threads-batch"),
    Option("n_batch", "integer", "Tokens handed over at once.", 1, 65_536, also=("batch_size",), flag="--batch-size"),
    Option("n_ubatch", "integer", "Tokens computed at once.", 1, 65_536, also=("ubatch_size",), flag="--ubatch-size"),
    Option("n_parallel", "integer", "Requests answered side by side; they share the context.", 1, 256,
           also=("parallel",), flag="--parallel"),
    Option("flash_attention", "choice", "Flash attention.", choices=("auto", "on", "off"), also=("flash_attn",),
           flag="--flash-attn"),
    Option("cache_type_k", "choice", "Number format of the keys in the KV cache.", choices=CACHE_TYPES,
           flag="--cache-type-k"),
    Option("cache_type_v", "choice", "Number format of the values in the KV cache.", choices=CACHE_TYPES,
           flag="--cache-type-v"),
    Option("load_mode", "choice", "How the file is read.",
           choices=("auto", "none", "mmap", "mlock", "mmap_mlock", "direct_io"), flag="--load-mode"),
    Option("rope_scaling", "choice", "Stretching of the context.", choices=("none", "linear", "yarn", "longrope"),
           flag="--rope-scaling"),
    Option("rope_freq_base", "number", "Base frequency of the position encoding.", 0, flag="--rope-freq-base"),
    Option("rope_freq_scale", "number", "Scale of the position encoding.", 0, flag="--rope-freq-scale"),
    Option("split_mode", "choice", "How layers are spread over several GPUs.", choices=("none", "layer", "row"),
           flag="--split-mode"),
    Option("main_gpu", "integer", "GPU that holds what is not split.", 0, 64, flag="--main-gpu"),
    Option("tensor_split", "numbers", "Shares of the model per GPU.", flag="--tensor-split"),
    Option("chat_template", "text", "Chat template that replaces the model's own.", flag="--chat-template"),
    Option("use_jinja", "switch", "Interpret chat templates with Jinja.", also=("jinja",), flag="--jinja",
           off="--no-jinja"),
    Option("embeddings", "switch", "Answer embedding requests besides chats.", also=("embedding",),
           flag="--embeddings"),
    Option("pooling", "choice", "How token vectors become one.", choices=("mean", "cls", "last", "rank", "none"),
           flag="--pooling"),
    Option("mmproj", "path", "Projector file for images.", flag="--mmproj"),
    Option("context_shift", "switch", "Forget the oldest tokens when the context is full.", also=("ctx_shift",),
           flag="--context-shift", off="--no-context-shift"),
    Option("kv_unified", "switch", "One KV cache for all parallel requests.", flag="--kv-unified",
           off="--no-kv-unified"),
    Option("warmup", "switch", "Run once after loading.", flag="--warmup", off="--no-warmup"),
    Option("check_tensors", "switch", "Look for invalid numbers while loading.", flag="--check-tensors"),
    Option("verbosity", "integer", "How much the engine logs.", 0, 10, flag="--verbosity"),
)  # fmt: skip
