"""How long `serve` takes to end on SIGTERM with an event stream and a chat stream open.

python tests/benchmarks/bench_shutdown.py [rounds]
"""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from serve_process import Serve, serving

TARGET_S = 2.0


def end_with_streams(data_dir: Path, *, chat: bool) -> float:
    """Seconds from the signal to the end of the process."""
    with serving(data_dir) as serve:
        serve.load().raise_for_status()
        with serve.http.stream("GET", "/api/events") as events:
            next(events.iter_lines())
            if not chat:
                return _end(serve)
            with serve.chat_stream() as lines:
                next(line for line in lines if line.startswith("data: "))
                return _end(serve)


def _end(serve: Serve) -> float:
    began = time.perf_counter()
    serve.process.send_signal(signal.SIGTERM)
    code = serve.wait()
    seconds = time.perf_counter() - began
    assert code == 0, serve.err
    assert not serve.engines()
    return seconds


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    sys.stdout.write(f"{'open when it is told to end':34} {'median':>8} {'longest':>8}   target {TARGET_S:.1f} s\n")
    with tempfile.TemporaryDirectory() as folder:
        for label, chat in (("event stream, model loaded", False), ("event stream and chat stream", True)):
            seconds = [end_with_streams(Path(folder) / "data", chat=chat) for _ in range(rounds)]
            sys.stdout.write(f"{label:34} {statistics.median(seconds):6.2f} s {max(seconds):6.2f} s\n")


if __name__ == "__main__":
    main()
