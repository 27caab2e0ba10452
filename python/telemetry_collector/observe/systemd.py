"""Telling the service manager how we are: datagrams to the socket named by NOTIFY_SOCKET, as sd_notify(3) has them.

Without that variable there is nobody to tell, and every method does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping

from telemetry_collector.observe.logs import logger

log = logger(__name__)

STATUS_CHARS_MAX = 200
"""A status text is cut here."""


class ServiceManager:
    """The process that started us and waits for word; systemd, where there is one."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_secs = _watchdog_secs(environ)
        self._silent = False

    @property
    def present(self) -> bool:
        """Whether there is somebody to tell."""
        return self._address is not None

    @property
    def watchdog_secs(self) -> float | None:
        """How often to call `alive`: half of what the service manager waits before it restarts us. None: never."""
        return self._watchdog_secs if self.present else None

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is complete."""
        self._tell("READY=1", *_status(status))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> None:
        """The process is about to end."""
        self._tell("STOPPING=1", *_status(status))

    def status(self, status: str) -> None:
        """One line about how things are, for `systemctl status`."""
        self._tell(*_status(status))

    def alive(self) -> None:
        """The watchdog's sign of life."""
        self._tell("WATCHDOG=1")

    def extend_timeout(self, secs: float) -> None:
        """Starting or stopping takes so much longer than the service manager would wait by itself."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(secs * 1e6)}")

    def _tell(self, *lines: str) -> None:
        if self._address is None or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            # The service manager will draw its own conclusions from silence; ours is to go on working.
            if not self._silent:
                log.warning("service_manager_unreachable", address=self._address, error=str(error))
            self._silent = True
        else:
            self._silent = False


def _address(text: str) -> str | None:
    """An absolute path, or `@name` for the abstract namespace; anything else is none that we know how to reach."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog_secs(environ: Mapping[str, str]) -> float | None:
    period, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not period.isdecimal() or int(period) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(period) / 2e6


def _status(text: str) -> tuple[str, ...]:
    flat = " ".join(text.split())[:STATUS_CHARS_MAX]
    return (f"STATUS={flat}",) if flat else ()
