"""What a client has to know of the wire contract besides its numbers, which stand in `telemetry_collector.model`."""

from typing import Final

from telemetry_collector._core import Ack
from telemetry_collector.model import CloseCode, Outcome, Reason

CREDIT_INITIAL: Final = 8
"""Batches that a new stream may have unacknowledged before the collector has said anything."""

STREAMS_MAX: Final = 4
"""Streams that a collector lets one connection have open at a time."""

FRAME_BYTES_MAX: Final = 1024 * 1024
"""Bytes of one frame, without its length prefix, that every collector takes unless told otherwise."""

FRAME_BYTES_MIN: Final = 1024
"""The least that a collector can be told to take."""

FRAME_PREFIX_BYTES: Final = 4

RETRY_AFTER_DEFAULT_SECS: Final = 0.1
"""What a `retry_after_ms` of 0 means."""


def outcome_of(number: int) -> Outcome:
    """The outcome with this number; none, or one of a later version of the contract, is treated as RETRY_LATER."""
    try:
        outcome = Outcome(number)
    except ValueError:
        return Outcome.RETRY_LATER
    return Outcome.RETRY_LATER if outcome is Outcome.UNSPECIFIED else outcome


def is_malformed(ack: Ack) -> bool:
    """The collector could not read the batch."""
    return ack.outcome == Outcome.REJECTED and any(reason == Reason.MALFORMED for reason, _, _ in ack.rejections)


def reason_label(number: int) -> str:
    """A reason in the words of counters and logs, such as `cardinality_limit`; an unknown one by its number."""
    try:
        return Reason(number).label
    except ValueError:
        return f"reason_{number}"


def close_label(number: int) -> str:
    """A close code in the words of counters and logs; an unknown one by its number."""
    try:
        return CloseCode(number).label
    except ValueError:
        return f"close_code_{number}"


RESET_WORDS: Final = "the collector no longer knows the connection (stateless reset)"
"""Why a connection ended that its collector has forgotten."""

_CRYPTO_ERROR: Final = 0x100


def close_words(code: int, reason: str) -> str:
    """Words for a close by the collector: its code, and its reason if it gave one."""
    return _with_reason(close_label(code), reason)


def transport_words(code: int, reason: str) -> str:
    """Words for the end of a connection by TLS or QUIC, on either side."""
    name = f"TLS alert {code - _CRYPTO_ERROR}" if code >= _CRYPTO_ERROR else f"QUIC error {code:#x}"
    return _with_reason(name, reason)


def _with_reason(name: str, reason: str) -> str:
    return f"{name}: {reason}" if reason else name
