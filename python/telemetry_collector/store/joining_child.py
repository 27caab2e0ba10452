"""The process that joins parts: `python -m telemetry_collector.store.joining_child KIND PARENT`.

See `joining_process`, which starts it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any, Final

_PR_SET_PDEATHSIG: Final = 1
_NICEST: Final = 19


def main() -> None:
    """Answers one task after the other, until there are no more."""
    kind, parent = sys.argv[1:]
    # Only answers go there: what a library prints is for the log.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _end_with(int(parent))
    _give_way()
    _work(kind, sys.stdin.buffer, answers)


def _end_with(parent: int) -> None:
    """The kernel kills this process when the one that started it is gone. What ends that one in order is not for us."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.SIG_IGN)


def _give_way() -> None:
    """To everything else on this machine, whatever it wants: the processor, the disk, whose priority follows from the
    processor's, and memory, for want of which this process goes before any other."""
    os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _work(kind: str, tasks: IO[bytes], answers: IO[bytes]) -> None:
    # Loading them is work, too.
    from telemetry_collector.errors import CoreError
    from telemetry_collector.store.format import POINTS, PartError
    from telemetry_collector.store.joining import HourJoiner
    from telemetry_collector.store.joining_process import MOVED, joined_answer, task_of
    from telemetry_collector.store.signals import SIGNALS

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer).encode() + b"\n")

    formats = {each.kind: each for each in (POINTS, *SIGNALS.values())}
    joiner = HourJoiner(formats[kind], moved=lambda: say(MOVED))  # type: ignore[index]  # KeyError is right for another
    for line in tasks:
        try:
            say(joined_answer(joiner.join(task_of(line))))
        except FileNotFoundError as error:
            say({"gone": str(error)})
        except (OSError, CoreError, PartError) as error:
            say({"failed": str(error)})


if __name__ == "__main__":
    main()
