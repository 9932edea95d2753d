"""The child process around llama.cpp's server: one model, one loopback port, gone when its parent is gone."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill us when the thread that started us ends; leave at once if the parent is already gone."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def build_params(model: str, port: int, alias: str, config: dict[str, Any]) -> Any:
    """CommonParams for `config` (canonical names of `embedded.OPTIONS`). Raises SystemExit for a bad extra_args."""
    import xllamacpp

    from quarterdeck.backends.embedded_params import apply

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {alias}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.ui = False
    # At its usual level the engine does not print the sizes of its buffers, from which the estimate learns.
    params.verbosity = 4
    apply(params, config)
    return params


def main() -> int:
    """Load the model, serve it, and stay until standard input closes."""
    parser = argparse.ArgumentParser(prog="quarterdeck-engine")
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--config", type=json.loads, default={})
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    import xllamacpp

    server = xllamacpp.Server(build_params(arguments.model, arguments.port, arguments.alias, arguments.config))
    print(f"serving {arguments.alias} on {server.listening_address}", flush=True)  # noqa: T201 - read as a log line
    # The parent holds the other end; it closes when the parent ends, on every platform.
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
