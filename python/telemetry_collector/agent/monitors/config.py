"""The checks of a node, as a user writes them: one list for each kind, and bounds for all of them together."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from telemetry_collector.config import Address, Seconds, Secret, Section, Text, WebAddress
from telemetry_collector.config.files import CertificateFile

CHECKS_MAX = 256
DEPENDENCIES_MAX = 16
SECS_MIN = 0.05
"""The shortest interval; a check that is wanted more often is a load test."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


def _reachable(address: Address) -> Address:
    if address.port == 0:
        raise ValueError("expected a port from 1, such as db.example:5432")
    return address


# What RFC 9110 lets stand in a header's name and in its value.
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")


def _can_be_asked(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.hostname is not None and parts.port != 0
    except ValueError:
        sound = False
    if not sound or any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("expected an address with a host and, if any, a port from 1 to 65535, without spaces")
    return url


class CheckConfig(Section):
    """What all kinds of check have."""

    name: Name = Field(description="a name of its own: letters, digits, _, . and -, at most 64")
    service: Text | None = Field(None, max_length=256, description="the tag service, or null for the check's name")
    interval_secs: Seconds = Field(30.0, ge=SECS_MIN, description="how often it is looked at")
    timeout_secs: Seconds = Field(5.0, description="how long one look may take, at most the interval")
    depends_on: tuple[Name, ...] = Field(
        (), max_length=DEPENDENCIES_MAX, description="names of checks without which this one cannot be up"
    )

    @model_validator(mode="after")
    def _ends_before_the_next(self) -> Self:
        if self.timeout_secs > self.interval_secs:
            raise ValueError(
                f"timeout_secs {self.timeout_secs:g} of {self.name} is above its interval_secs {self.interval_secs:g}; "
                "expected at most the interval"
            )
        return self


class HttpCheckConfig(CheckConfig):
    """A request that has to be answered as expected."""

    url: Annotated[WebAddress, AfterValidator(_can_be_asked)] = Field(
        description="what is asked for, http:// or https://"
    )
    method: Literal["GET", "HEAD"] = Field("GET", description="GET or HEAD")
    headers: dict[HeaderName, Secret] = Field(
        default_factory=dict, max_length=32, description="headers that are sent along"
    )
    expected_status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field(
        (), max_length=32, description="the statuses that count as up; none for any from 200 to 299"
    )
    expected_body: str | None = Field(
        None,
        min_length=1,
        max_length=1_024,
        description="a regular expression (RE2) that must fit a part of the body",
    )
    redirects_max: int = Field(0, ge=0, le=10, description="redirections that are followed")
    ca_path: CertificateFile | None = Field(
        None, description="the authorities that may vouch for the server, or null for the system's"
    )
    verify_certificate: bool = Field(True, description="whether the server's certificate must be good")
    certificate_days_min: int | None = Field(
        None, ge=0, le=3_650, description="it is down when its certificate is good for fewer days, or null"
    )

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, Secret]) -> dict[str, Secret]:
        for name, value in headers.items():
            if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the value of {name} has control characters; expected text of one line")
        return headers

    @field_validator("expected_body")
    @classmethod
    def _is_an_expression(cls, value: str | None) -> str | None:
        if value is not None:
            # Only who writes an expression pays for the library that knows them.
            from telemetry_collector.agent.monitors.expression import Expression

            Expression(value)
        return value

    @model_validator(mode="after")
    def _can_be_found_out(self) -> Self:
        if self.expected_body is not None and self.method == "HEAD":
            raise ValueError(f"{self.name} expects a body of HEAD, which has none; expected GET")
        if self.certificate_days_min is not None and not self.redirects_max and not self.url.startswith("https:"):
            raise ValueError(f"{self.name} has certificate_days_min and no certificate; expected an https:// address")
        return self


class TcpCheckConfig(CheckConfig):
    """A port that has to accept connections."""

    address: Annotated[Address, AfterValidator(_reachable)] = Field(description="host:port")


class ProcessCheckConfig(CheckConfig):
    """Processes that have to be there."""

    pid_file: Text | None = Field(None, description="a file with the number of the process")
    pattern: Text | None = Field(None, max_length=256, description="a pattern of the processes' name, such as nginx*")
    processes_min: int = Field(1, ge=0, le=100_000, description="so many processes at least")
    processes_max: int | None = Field(None, ge=0, le=100_000, description="so many at most, or null")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.pid_file is None and self.pattern is None:
            raise ValueError(f"{self.name} names no process; expected pid_file, pattern or both")
        if self.processes_max is not None and self.processes_max < self.processes_min:
            raise ValueError(
                f"processes_max {self.processes_max} of {self.name} is below its processes_min {self.processes_min}; "
                f"expected at least {self.processes_min}"
            )
        return self


class CommandCheckConfig(CheckConfig):
    """A command that has to end as expected."""

    command: tuple[Text, ...] = Field((), max_length=64, description="the program and its arguments; no shell is asked")
    shell: Text | None = Field(None, max_length=4_096, description="a line for /bin/sh, instead of command")
    expected_exit: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        (0,), min_length=1, max_length=32, description="the exit codes that count as up"
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if bool(self.command) == bool(self.shell):
            raise ValueError(f"{self.name} has {'both' if self.shell else 'neither'}; expected either command or shell")
        return self


class MonitorsConfig(Section):
    """Every check of a node."""

    http: tuple[HttpCheckConfig, ...] = Field((), description="requests that have to be answered")
    tcp: tuple[TcpCheckConfig, ...] = Field((), description="ports that have to accept connections")
    process: tuple[ProcessCheckConfig, ...] = Field((), description="processes that have to be there")
    command: tuple[CommandCheckConfig, ...] = Field((), description="commands that have to end well")
    at_once_max: int = Field(16, ge=1, le=64, description="checks that are under way at a time")

    @property
    def checks(self) -> tuple[CheckConfig, ...]:
        """All of them, of whichever kind."""
        return (*self.http, *self.tcp, *self.process, *self.command)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        names = [check.name for check in self.checks]
        if len(names) > CHECKS_MAX:
            raise ValueError(f"there are {len(names)} checks; expected at most {CHECKS_MAX}")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two checks are called {twice}; expected a name of its own for each")
        for check in self.checks:
            for dependency in check.depends_on:
                if dependency not in names:
                    raise ValueError(
                        f"{check.name} depends on {dependency}, which is no check; expected a check's name"
                    )
        _refuse_circles({check.name: check.depends_on for check in self.checks})
        return self


def _refuse_circles(depends_on: dict[str, tuple[str, ...]]) -> None:
    """Takes away, again and again, what depends on nothing that is left; in a circle something remains."""
    left = dict(depends_on)
    while left:
        free = [name for name, needed in left.items() if not any(other in left for other in needed)]
        if not free:
            circle = ", ".join(sorted(left))
            raise ValueError(f"checks depend on each other in a circle, among {circle}; expected none to need itself")
        for name in free:
            del left[name]
