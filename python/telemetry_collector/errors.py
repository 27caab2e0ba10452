"""Every error that leaves a part of this package.

    TelemetryCollectorError
    ├── ConfigError          what a user wrote cannot be used; carries every mistake found
    ├── CertificateError     a certificate, key or revocation list cannot be made, read or trusted
    ├── AddressError         an address cannot be listened on or connected to
    ├── RetryableError       a destination failed; the same work may succeed later
    └── PermanentError       this data or request will never be taken, however often it is tried
    CoreError                raised by the Rust core
    ├── JournalError         the journal cannot be opened, read or written
    └── EncodeError          a batch cannot be encoded

Each is permanent but for RetryableError, and keeps its cause (`raise … from …`). Nothing decides by an error's text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry_collector._core import CoreError, EncodeError, JournalError

__all__ = [
    "AddressError",
    "CertificateError",
    "ConfigError",
    "CoreError",
    "EncodeError",
    "JournalError",
    "Mistake",
    "PermanentError",
    "RetryableError",
    "TelemetryCollectorError",
]


class TelemetryCollectorError(Exception):
    """Base of this package's own errors. The text is for the user: what, where, what would be right."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a configuration document."""

    key: str
    """Where, as `limits.max_batch_size`; empty when the document as a whole is meant."""
    problem: str
    """What is wrong, as a clause: `is not a key of limits`."""
    expected: str = ""
    """What would be right; empty when the problem says it already."""
    value: str | None = None
    """What was written, never a secret; None when it says nothing or must not be shown."""
    line: int | None = None
    """Line of the document, from 1; None for what is not written there."""

    def __str__(self) -> str:
        subject = " = ".join(part for part in (self.key, self.value) if part)
        text = f"{subject}: {self.problem}" if subject else self.problem
        return f"{text}; {self.expected}" if self.expected else text


class ConfigError(TelemetryCollectorError):
    """A configuration document with at least one mistake; `mistakes` has all of them, in the order of the document.

    One that only shows when its value is used, in no line of any document, is told alone: it may stand in a log.
    """

    def __init__(self, mistakes: Sequence[Mistake], source: str = "configuration") -> None:
        self.mistakes = tuple(mistakes)
        self.source = source
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = [f"{source}:{m.line}: {m}" if m.line else f"{source}: {m}" for m in self.mistakes]
        alone = lines == [f"configuration: {self.mistakes[0]}"]
        super().__init__(str(self.mistakes[0]) if alone else "\n".join((f"{count} in {source}", *lines)))


class CertificateError(TelemetryCollectorError):
    """A certificate, key or revocation list cannot be made, read or trusted; the text names the file."""


class AddressError(TelemetryCollectorError):
    """An address cannot be used; the text names it, the configuration key it came from and the system's reason."""


class RetryableError(TelemetryCollectorError):
    """A destination failed in a way that may pass."""

    def __init__(self, message: str, *, retry_after_secs: float | None = None) -> None:
        self.retry_after_secs = retry_after_secs
        """How long the destination asked to be left alone; None when it did not say."""
        super().__init__(message)


class PermanentError(TelemetryCollectorError):
    """A destination will never take this; trying again is pointless."""
