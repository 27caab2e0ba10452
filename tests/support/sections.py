"""Sections of made-up writers, and what a document with them becomes."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from telemetry_collector.config import (
    Config,
    PositiveInt,
    Secret,
    Section,
    Text,
    Url,
    load,
)
from telemetry_collector.errors import ConfigError, Mistake


class Influx(Section):
    url: Url = Field(description="the server's address")
    token: Secret = Field(description="the token to write with")
    batch: PositiveInt = Field(5_000, le=9_000, description="lines sent at a time")
    gzip: bool = False
    tags: dict[Annotated[str, Field(max_length=5)], str] = Field(default_factory=dict, max_length=2)
    pause: float | Literal["auto"] = "auto"
    bucket: str = Field("b", pattern="^[a-z]+$", description="a bucket's name in small letters")


class Login(Section):
    user: str
    password: Secret


class Forward(Section):
    login: Login | None = None
    peers: list[Login] = Field(default_factory=list)
    retries: int = 3


class Files(Section):
    output_dir: Path = Path("/var/lib/files")
    name: Text = "x"


WRITERS: dict[str, type[Section]] = {"influxdb": Influx, "parquet": Files, "forward": Forward}


def loaded(text: str, **environ: str) -> Config:
    return load(text, WRITERS, environ=environ, check_files=False)


def mistakes(text: str, **environ: str) -> list[Mistake]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, **environ)
    return list(caught.value.mistakes)


def only(text: str, **environ: str) -> Mistake:
    (found,) = mistakes(text, **environ)
    return found
