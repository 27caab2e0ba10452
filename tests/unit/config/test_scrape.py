"""The section `scrape`, and when a target's turn is."""

import pytest
from pydantic import ValidationError

from telemetry_collector.config.scrape import Scrape, ScrapeJob


def test_an_address_without_a_path_is_that_of_metrics() -> None:
    targets = (
        "http://n:9100",
        "http://n:9100/",
        "http://n:9100?all=1",
        "http://n:9100/other",
        "http://n:9100/metrics/",
    )
    assert ScrapeJob(name="a", targets=targets).targets == (
        "http://n:9100/metrics",
        "http://n:9100/metrics",
        "http://n:9100/metrics?all=1",
        "http://n:9100/other",
        "http://n:9100/metrics/",
    )


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"name": "a", "targets": ("ftp://n",)}, "http"),
        ({"name": "a", "targets": ("http://user:secret@n/",)}, "without a user"),
        ({"name": "a", "targets": ()}, "at least 1"),
        (
            {"name": "a", "targets": ("http://n",), "interval_secs": 5.0, "timeout_secs": 6.0},
            "timeout_secs 6.0 is above",
        ),
    ],
)
def test_mistakes_are_told(section: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ScrapeJob.model_validate(section)


def test_a_name_is_one_jobs() -> None:
    job = ScrapeJob(name="a", targets=("http://n",))
    with pytest.raises(ValidationError, match="named twice"):
        Scrape(jobs=(job, job))
