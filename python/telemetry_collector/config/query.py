"""The `query` section: what questions about the dataset may take."""

from pydantic import Field

from telemetry_collector.config.section import Seconds, Section
from telemetry_collector.config.sections import MIB, TIB


class QueryBounds(Section):
    """Bounds of questions, over whichever interface they come."""

    at_a_time: int = Field(2, ge=1, le=64, description="questions answered at a time")
    threads: int = Field(1, ge=1, le=1_024, description="threads that work on all of them")
    memory_bytes_max: int = Field(512 * MIB, ge=64 * MIB, le=TIB, description="memory for all of them")
    timeout_secs: Seconds = Field(10, description="a question that takes longer is ended")
    range_secs_max: Seconds = Field(31 * 86_400, description="the longest range of one question")
    series_max: int = Field(1_000, ge=1, le=100_000, description="series of one answer")
    points_max: int = Field(100_000, ge=1, le=10_000_000, description="points of one answer, over all series")
