"""The base of every configuration section, and the types that their keys are made of.

A section is frozen once validated, refuses keys it does not know and converts nothing: text is no number and a number
is no text. Whole numbers pass where a fraction may stand. Every component declares its own section beside its code:

    class Config(Section):
        url: Url = Field(description="where it is")
        batch_lines: PositiveInt = Field(5_000, le=50_000, description="lines sent at a time")

A field's description completes the sentence "expected …" in the message for a user who left the key out or got it
wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
    StringConstraints,
)
from pydantic_core import CoreSchema, core_schema

Secret = SecretStr
"""Text that is never printed or logged: `str`, `repr` and JSON show asterisks; `get_secret_value()` is the text."""

Port = Annotated[int, Field(ge=0, le=65_535)]
"""A port; 0 lets the system choose one."""

PositiveInt = Annotated[int, Field(ge=1)]
"""A whole number from 1."""

Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]
"""A duration above zero, fractions allowed, a year at most."""

WholeSeconds = Annotated[int, Field(ge=1, le=366 * 86_400)]
"""A duration in whole seconds, a year at most."""

Text = Annotated[str, StringConstraints(min_length=1)]
"""Text that is not empty."""


def _web_address(value: str) -> str:
    scheme, found, rest = value.partition("://")
    if scheme not in ("http", "https") or not found or not rest.partition("/")[0]:
        raise ValueError("expected an address that starts with http:// or https://, such as http://localhost:8086")
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
"""An http or https address, as it was written."""

Url = Annotated[WebAddress, AfterValidator(lambda address: address.rstrip("/"))]
"""An http or https address that paths are added to, kept without slashes at its end."""


SOCKET_PATH_BYTES_MAX = 107
"""What the system takes as a unix socket's name."""


class Section(BaseModel):
    """Base of every section."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=False,
    )


class WriterSection(Section):
    """Base of every writer's section: what the fan-out goes by."""

    when_full: Literal["block", "drop_oldest"] = Field(
        "block", description="block or drop_oldest: what happens when the journal is full because of this writer"
    )
    retry_secs_max: Seconds = Field(30, description="the longest pause between two attempts")
    catch_up_points_per_sec: PositiveInt | None = Field(
        None, description="points a second that it is given when it is behind, or null for no bound"
    )


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, written `host:port`, with an IPv6 address in brackets: `[::1]:5001`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `host:port`. ValueError says what would be right."""
        host, colon, port = text.rpartition(":")
        wrong = ValueError("expected host:port, such as 0.0.0.0:5001 or [::]:5001")
        if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
            raise wrong
        if host.startswith("[") and host.endswith("]"):
            host = str(IPv6Address(host[1:-1])) if _is_ipv6(host[1:-1]) else ""
        elif ":" in host:
            raise ValueError("expected an IPv6 address in brackets, such as [::1]:5001")
        if not host or any(character.isspace() or character in "/[]@" for character in host):
            raise wrong
        return cls(host, int(port))

    @classmethod
    def _of_document(cls, value: Any) -> Self:
        return cls.parse(value if isinstance(value, str) else "")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Text in documents, `Address` in code."""
        del source, handler
        text = core_schema.no_info_plain_validator_function(cls._of_document)
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), text]),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
