"""Why a question has no answer.

QueryError
├── InvalidQuery        what was asked makes no sense, and never will; names the field
├── AnswerTooLarge      the answer has more series or points than it may; asking for less helps
├── QueryBusy           as many are answered already as may be at a time; later it may work
├── QueryTimedOut       it took too long
├── QueryTooLarge       it needs more memory than it may have
└── DatasetUnreadable   a file cannot be read
"""

from telemetry_collector.errors import TelemetryCollectorError


class QueryError(TelemetryCollectorError):
    """Base of these errors; the text is for whoever asked."""


class InvalidQuery(QueryError):
    """A field has a value that it cannot have."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        """Where, as `selection.matchers[0].value`."""
        self.problem = problem
        """What is wrong with it, without the field."""
        super().__init__(f"{field}: {problem}")


class AnswerTooLarge(QueryError):
    """There is an answer, and it is larger than one may be."""


class QueryBusy(QueryError):
    """Every slot is taken."""


class QueryTimedOut(QueryError):
    """It was ended before it was done."""


class QueryTooLarge(QueryError):
    """It ran out of memory."""


class DatasetUnreadable(QueryError):
    """Published files are damaged or gone; a fault of the site, not of the question."""
