"""The `scrape` section: targets that show their metrics and send none."""

from typing import Annotated, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, model_validator

from telemetry_collector.config.section import Seconds, Section, Text, WebAddress


def _page(url: str) -> str:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("expected an address without a user or password")
    return url if parts.path.strip("/") else urlunsplit(parts._replace(path="/metrics"))


Page = Annotated[WebAddress, AfterValidator(_page)]
"""The address of a page of metrics; /metrics where it has no path."""

TARGETS_MAX = 10_000


class ScrapeJob(Section):
    """Targets that are alike."""

    name: Text = Field(description="the tag `job` of what is read")
    targets: tuple[Page, ...] = Field(
        min_length=1, max_length=TARGETS_MAX, description="addresses, such as http://node-1:9100/metrics, at least one"
    )
    interval_secs: Seconds = Field(15, description="how often each target is read")
    timeout_secs: Seconds = Field(10, description="how long reading one may take, at most its interval")
    labels: dict[Text, Text] = Field({}, description="further tags of what is read")

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.timeout_secs > self.interval_secs:
            raise ValueError(
                f"timeout_secs {self.timeout_secs} is above interval_secs {self.interval_secs}; "
                "expected a target to be read before its next turn"
            )
        return self


class Scrape(Section):
    """All jobs."""

    jobs: tuple[ScrapeJob, ...] = Field((), description="what is read, and how often")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [job.name for job in self.jobs]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"jobs {doubled} are named twice; expected each to have a name of its own")
        return self
