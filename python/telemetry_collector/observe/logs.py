"""Structured logs on one stream: an event's name, then what it is about, as text for people or JSON for machines.

Timestamps are UTC. What libraries log through the standard library takes the same way. Secrets stay out: values of
secret types show as asterisks, so do values whose key says that they are secret, and credentials in addresses.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

from telemetry_collector.observe.without import without

# structlog loads it wherever it is installed, for tracebacks that we do not use: they show local variables.
with without("rich"):
    import structlog
    from structlog.typing import FilteringBoundLogger, Processor

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]
Logger = FilteringBoundLogger

MASK: Final = "**********"

_LEVELS: Final[dict[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_SECRET_KEY: Final = re.compile(r"(?i)(?:^|[._-])(?:authorization|cookie|key_pem|passwd|password|secret|token)$")
_CREDENTIALS: Final = re.compile(r"://[^/@\s]+@")
# Libraries whose info is our debug.
_QUIET: Final = ("aiohttp", "aioquic", "asyncio", "urllib3")
# And whose warnings too: aioquic warns of each handshake that fails. Strangers can cause any number of those, and our
# own events tell of them once in a while.
_SILENT: Final = ("quic",)


def logger(name: str) -> Logger:
    """The logger of a module: `log = logger(__name__)`, then `log.info("connection_opened", identity=identity)`.

    May be called at import; it follows whatever `configure` sets later.
    """
    found: Logger = structlog.get_logger(name)
    return found


def configure(level: Level = "info", form: Format = "auto", stream: TextIO | None = None) -> None:
    """Sets up logging of the whole process on a stream, standard error by default. May be called again.

    The form `auto` is `console` on a terminal and `json` elsewhere.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    console = form == "console" or (form == "auto" and terminal)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *common],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_console(colours=terminal) if console else _json()),
            ],
        )
    )
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if getattr(handler, "_telemetry_collector", False)]:
        root.removeHandler(old)
    handler._telemetry_collector = True  # type: ignore[attr-defined]  # marks ours, to be replaced next time
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.ERROR)
    logging.captureWarnings(True)


def without_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Masks, in place, values whose key says that they are secret, and credentials in addresses, however deep."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: object, value: object) -> object:
    if isinstance(key, str) and _SECRET_KEY.search(key) and value is not None:
        return MASK
    if isinstance(value, str):
        return _CREDENTIALS.sub(f"://{MASK}@", value) if "://" in value else value
    if isinstance(value, dict):
        return {inner: _masked(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(None, item) for item in value]
    return value


def _console(*, colours: bool) -> list[Processor]:
    # A traceback with local variables would show secrets, so it is the plain one.
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)]


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, _first_things_first, structlog.processors.JSONRenderer(default=str)]


def _first_things_first(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    first = {key: event[key] for key in ("timestamp", "level", "logger", "event") if key in event}
    return {**first, **event}
