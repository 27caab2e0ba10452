"""What is done now and then is done whatever becomes of the rest."""

from structlog.testing import capture_logs

from telemetry_collector._core import JournalError
from telemetry_collector.app.maintenance import Step, tend


async def test_a_step_that_fails_keeps_no_other_from_its_work() -> None:
    done: list[str] = []

    def failing(error: Exception) -> Step:
        async def step() -> None:
            done.append(str(error))
            raise error

        return step

    async def room() -> None:
        done.append("room was made")

    with capture_logs() as said:
        await tend(
            [failing(JournalError("no checkpoint")), failing(OSError("no space")), failing(KeyError("defect")), room]
        )
    assert done == ["no checkpoint", "no space", "'defect'", "room was made"]
    assert [line["event"] for line in said] == [*["journal_maintenance_failed"] * 2, "journal_maintenance_defect"]
