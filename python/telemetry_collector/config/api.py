"""The section `api`, and what the environment says of it."""

import os
from collections.abc import Mapping
from typing import Self

from pydantic import Field

from telemetry_collector.config.section import Address, Port, Section, Text, WholeSeconds
from telemetry_collector.errors import ConfigError, Mistake

VARIABLE = "HTTP_PORT"
"""The environment variable that takes the place of `http_port`, and of `http_addr` where it names an address, too."""
_ANY = "localhost"


class Api(Section):
    """The HTTP API, and the workers that it tells of."""

    http_addr: Text = Field("127.0.0.1", description="the address that the API listens on")
    http_port: Port | None = Field(
        8080, description="the port of the API, or null for no API; 0 lets the system choose"
    )
    workers_max: int = Field(10_000, ge=1, le=1_000_000, description="workers known at a time")
    worker_forget_secs: WholeSeconds = Field(604_800, description="a worker silent for so long is forgotten")

    def of_environment(self, environ: Mapping[str, str] | None = None) -> Self:
        """With what `HTTP_PORT` says: `8080`, `:8080` or `127.0.0.1:8080`. ConfigError when it is none of these."""
        text = (os.environ if environ is None else environ).get(VARIABLE, "").strip()
        if not text:
            return self
        port_alone = not text.rpartition(":")[0]
        try:
            address = Address.parse(f"{_ANY}:{text.removeprefix(':')}" if port_alone else text)
        except ValueError as error:
            expected = "expected a port or an address, such as 8080, :8080 or 127.0.0.1:8080"
            raise ConfigError([Mistake(VARIABLE, "is no port", expected, value=text)], "the environment") from error
        host = self.http_addr if port_alone else address.host
        return self.model_copy(update={"http_addr": host, "http_port": address.port})
