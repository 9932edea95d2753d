"""Becomes an engine, after leaving a guard behind that ends the engine when Quarterdeck is gone.

Run as a script, `python -I -S launcher.py PARENT PROGRAM ARGUMENT…`, with a pipe from Quarterdeck as standard input and
as the leader of a process group. The engine keeps the pid. The guard sleeps on the pipe, which closes when Quarterdeck
ends in whatever way, kill -9 included; then it ends the whole group: an engine's workers often outlive their leader and
hold the GPU. Quarterdeck itself closes the pipe once the group is gone. Only modules that Python has loaded anyway are
imported: this runs before every load.
"""

import os
import signal
import sys
import time

PATIENCE_SECONDS = 3.0
"""How long the group gets to end by itself once Quarterdeck is gone."""
CANNOT_START = 127


LOOK_SECONDS = 0.05


def guard(group: int) -> None:
    """Wait for the end of standard input, then end the process group."""
    # A session of its own: what ends the group does not end the guard.
    os.setsid()
    # Holding the engine's output open would hide from Quarterdeck that it has ended.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    while os.read(0, 4096):
        pass
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass  # Nobody is left.


def leave_guard() -> None:
    """Start the guard as nobody's child: an engine that waits for its own children must not meet a stranger."""
    group = os.getpgrp()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            guard(group)
        os._exit(0)
    os.waitpid(child, 0)


def main() -> None:
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    # uvloop hands copies of the output down as well; in the guard they would keep it open after the engine's end.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    leave_guard()
    if os.getppid() != parent:
        os._exit(0)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the point of this program
    except OSError as error:
        sys.stderr.write(f"error: {argv[0]} cannot be started: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(CANNOT_START)


if __name__ == "__main__":
    main()
