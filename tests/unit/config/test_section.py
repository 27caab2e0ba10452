"""The types that keys are made of."""

import json
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from telemetry_collector.config import Address, Seconds, Secret, Section, Url

hosts = (
    st.ip_addresses().map(str)
    | st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z]{1,5}){0,3}", fullmatch=True)
)  # fmt: skip


@given(hosts, st.integers(0, 65_535))
def test_an_address_is_read_back_from_its_text(host: str, port: int) -> None:
    address = Address(host, port)
    assert Address.parse(str(address)) == address


@given(st.ip_addresses(v=6), st.integers(0, 65_535))
def test_ipv6_stands_in_brackets(host: IPv6Address, port: int) -> None:
    assert str(Address(str(host), port)) == f"[{host}]:{port}"


@given(st.ip_addresses(v=4))
def test_ipv4_stands_bare(host: IPv4Address) -> None:
    assert str(Address(str(host), 1)) == f"{host}:1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5001",
        ":5001",
        "host",
        "host:",
        "host:x",
        "host:-1",
        "host:65536",
        "host:٣",
        "::1:5001",
        "[::1]",
        "[x]:1",
        "[]:1",
        "a b:1",
        "http://host:1",
        "user@host:1",
        "host:1 ",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .*such as .*:5001"):
        Address.parse(text)


class Example(Section):
    addr: Address = Address("localhost", 1)
    url: Url = "http://a"
    secret: Secret = Secret("")
    wait: Seconds = 1
    text: str = Field("", max_length=3)


def test_code_gives_addresses_as_they_are_or_as_text() -> None:
    assert Example(addr=Address("::1", 2)).addr == Address("::1", 2)
    assert Example.model_validate({"addr": "[::1]:2"}).addr == Address("::1", 2)
    with pytest.raises(ValidationError):
        Example.model_validate({"addr": 5})


def test_a_section_is_written_as_the_document_would_have_it() -> None:
    example = Example(addr=Address("::1", 2), secret=Secret("x"))
    assert json.loads(example.model_dump_json()) == {
        "addr": "[::1]:2",
        "url": "http://a",
        "secret": "**********",
        "wait": 1,
        "text": "",
    }


@pytest.mark.parametrize("url", ["http://a", "https://a:1/b", "http://[::1]:8086", "http://a/"])
def test_web_addresses_are_kept_without_slashes_at_their_end(url: str) -> None:
    assert Example(url=url).url == url.rstrip("/")


@pytest.mark.parametrize("url", ["", "a", "a:80", "ftp://a", "http:/a", "http://", "http:///b"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="http://"):
        Example(url=url)


@pytest.mark.parametrize("values", [{"wait": "1"}, {"wait": True}, {"text": 5}, {"wait": float("inf")}, {"more": 1}])
def test_nothing_is_converted_and_nothing_unknown_is_taken(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate(values)


def test_pydantic_itself_does_not_show_values_in_errors() -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"text": "hunter2"})
    assert "hunter2" not in str(caught.value)
