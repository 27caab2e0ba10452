"""Environment variables in values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.config.substitution import Substitution, substitute

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
texts = st.text(max_size=30)
plain = texts.filter(lambda text: "${" not in text and not text.endswith("$"))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "one"),
        ("x${A}y${A}z", "xoneyonez"),
        ("${UNSET:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${EMPTY}", ""),
        ("${A:-two}", "one"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-a}}", "a}"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ 5$ $$", "$A $ 5$ $$"),
        ("${NESTED}", "${A}"),
    ],
)
def test_references_become_values(text: str, result: str) -> None:
    found = substitute(text, {"A": "one", "EMPTY": "", "NESTED": "${A}"})
    assert (found.text, found.problems) == (result, ())


def test_an_unset_variable_without_default_is_named() -> None:
    found = substitute("a ${HOST}:${PORT}", {"PORT": "1"})
    assert found.problems == ("the environment variable HOST is not set; set it, or write ${HOST:-default}",)


@pytest.mark.parametrize("text", ["${}", "${1A}", "${A-b}", "${A:b}", "${ A }", "${A", "x ${A:-b", "${A.B}"])
def test_what_looks_like_a_reference_and_is_none_is_told(text: str) -> None:
    (problem,) = substitute(text, {"A": "one"}).problems
    assert "names no variable; write ${NAME}, ${NAME:-default}, or $${ for a plain ${" in problem


@given(plain)
def test_text_without_references_stays_as_it_is(text: str) -> None:
    assert substitute(text, {}) == Substitution(text, substituted=False)


@given(texts)
def test_escaping_every_reference_gives_the_text_back(text: str) -> None:
    found = substitute(text.replace("${", "$${"), {})
    assert (found.text, found.substituted, found.problems) == (text, False, ())


@given(st.lists(st.tuples(plain, names, texts), max_size=5), plain)
def test_every_reference_is_replaced_once_and_what_it_holds_is_not_looked_into(
    parts: list[tuple[str, str, str]], end: str
) -> None:
    environ = {name: value for _, name, value in parts}
    found = substitute("".join(f"{before}${{{name}}}" for before, name, _ in parts) + end, environ)
    assert found.text == "".join(before + environ[name] for before, name, _ in parts) + end
    assert found.substituted == bool(parts)
    assert found.problems == ()


@given(texts, st.dictionaries(names, texts, max_size=3))
def test_no_text_raises(text: str, environ: dict[str, str]) -> None:
    substitute(text, environ)
