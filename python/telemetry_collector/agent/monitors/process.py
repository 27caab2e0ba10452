"""Whether processes are there, by the number in a file, by their name, or both."""

from fnmatch import fnmatchcase
from pathlib import Path

import psutil

from telemetry_collector.agent.monitors.calls import Calls
from telemetry_collector.agent.monitors.config import ProcessCheckConfig
from telemetry_collector.agent.monitors.outcome import CheckFailed, Finding, Reason

PID_FILE_BYTES_MAX = 64
"""More is no number of a process."""


class ProcessCheck:
    """Counts processes; those that have ended and were not collected by their parent do not count."""

    kind = "process"

    def __init__(self, config: ProcessCheckConfig, calls: Calls) -> None:
        self.target = config.pattern or str(config.pid_file)
        self._config = config
        self._calls = calls

    async def look(self, finding: Finding) -> None:
        """See Check."""
        config = self._config
        found = await self._calls.call(self._count)
        finding.measure("service.process.count", found, "{process}")
        if found < config.processes_min:
            raise CheckFailed(Reason.PROCESSES, f"{found} processes, expected at least {config.processes_min}")
        if config.processes_max is not None and found > config.processes_max:
            raise CheckFailed(Reason.PROCESSES, f"{found} processes, expected at most {config.processes_max}")

    def _count(self) -> int:
        if self._config.pid_file is not None:
            return int(self._fits(_process_of(Path(self._config.pid_file))))
        return sum(self._fits(process) for process in psutil.process_iter())

    def _fits(self, process: psutil.Process | None) -> bool:
        if process is None:
            return False
        pattern = self._config.pattern
        try:
            named = pattern is None or fnmatchcase(process.name(), pattern)
            return named and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.Error:
            return False  # it has ended meanwhile


def _process_of(pid_file: Path) -> psutil.Process | None:
    try:
        with pid_file.open("rb") as file:
            text = file.read(PID_FILE_BYTES_MAX + 1).strip()
    except FileNotFoundError:
        return None  # how most services tell that they have stopped
    except OSError as error:
        raise CheckFailed(Reason.FAULT, f"cannot read {pid_file}: {error.strerror or error}") from error
    if not text.isdigit() or len(text) > PID_FILE_BYTES_MAX:
        raise CheckFailed(Reason.FAULT, f"{pid_file} holds no number of a process")
    try:
        return psutil.Process(int(text))
    except (psutil.NoSuchProcess, OverflowError, ValueError):
        return None
