"""YAML as configurations may use it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.config.show import dump
from telemetry_collector.config.source import (
    DEPTH_MAX,
    DOCUMENT_BYTES_MAX,
    VALUES_MAX,
    Tree,
    dotted,
    read_tree,
)


def values(text: str) -> dict[str, Any]:
    tree = read_tree(text, {})
    assert tree.mistakes == []
    return tree.values


def told(tree: Tree) -> list[str]:
    return [f"{mistake.line}: {mistake}" for mistake in tree.mistakes]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-11-22", "2026-11-22"),
        ("<<", "<<"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
        ("!!str 5", "5"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("9" * 100, "9" * 100),
        ("[1, [a, 2.5]]", [1, ["a", 2.5]]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
    ],
)
def test_scalars_have_the_types_of_the_core_schema(written: str, value: Any) -> None:
    assert values(f"a: {written}") == {"a": value}
    assert type(values(f"a: {written}")["a"]) is type(value)


def test_not_a_number_is_one() -> None:
    found = values("a: .NaN")["a"]
    assert found != found


def test_lines_are_those_of_the_values() -> None:
    tree = read_tree("a:\n  b: 1\n\n  c:\n    - x\n    - y\n", {})
    assert tree.lines == {("a",): 1, ("a", "b"): 2, ("a", "c"): 4, ("a", "c", 0): 5, ("a", "c", 1): 6}


def test_a_key_given_twice_is_told_with_both_lines_and_the_first_counts() -> None:
    tree = read_tree("a:\n  b: 1\n  c: 2\n  b: 3\na: 4\n", {})
    assert told(tree) == [
        "4: a.b: is given twice, first on line 2; expected it once",
        "5: a: is given twice, first on line 1; expected it once",
    ]
    assert tree.values == {"a": {"b": 1, "c": 2}}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1, 2\n", 2, "column 1: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2\n", 2, "column 1: while scanning for the next token, found character '\\t'"),
        ("a: 1\n b: 2\n", 2, "column 3: mapping values are not allowed here"),
        ("a: 'x\n", 2, "column 1: while scanning a quoted scalar, found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", 2, "expected a single document in the stream"),
        ("a: *b\n", 1, "found undefined alias 'b'"),
        ("a: \x01\n", None, "special characters are not allowed"),
    ],
)
def test_a_syntax_error_is_told_with_line_and_column(text: str, line: int | None, words: str) -> None:
    (mistake,) = read_tree(text, {}).mistakes
    assert mistake.line == line
    assert mistake.problem.startswith("is not YAML: ")
    assert words in mistake.problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object:os.system x", "1: a: has the tag tag:yaml.org,2002:python/object:os.system; "
         "expected a plain value, without a tag"),
        ("a: !mine {b: 1}", "1: a: has the tag !mine; expected a plain value, without a tag"),
        ("a: !!set {b}", "1: a: has the tag tag:yaml.org,2002:set; expected a plain value, without a tag"),
        ("a: !!int x", "1: a: is not what its tag tag:yaml.org,2002:int says; expected a plain value, without a tag"),
        ("? [a, b]\n: 1", "1: has a key that is no text; expected `key: value`"),
        ('a: "\\ud800"', "1: a: is not valid Unicode; expected UTF-8 text"),
    ],
)  # fmt: skip
def test_what_no_configuration_needs_is_told(text: str, words: str) -> None:
    assert told(read_tree(text, {})) == [words]


def test_a_variable_that_is_no_text_is_told() -> None:
    assert told(read_tree("a: ${X}", {"X": "\udcff"})) == ["1: a: is not valid Unicode; expected UTF-8 text"]


def test_nesting_is_bounded() -> None:
    depth = DEPTH_MAX + 5
    (mistake,) = read_tree("a: " + "[" * depth + "]" * depth, {}).mistakes
    assert f"nested deeper than {DEPTH_MAX} levels" in mistake.problem


def test_nesting_beyond_the_parser_is_told_too() -> None:
    (mistake,) = read_tree("a: " + "[" * 5_000, {}).mistakes
    assert mistake.problem == "is nested too deeply to be read"


def test_an_alias_that_holds_itself_ends() -> None:
    (mistake,) = read_tree("a: &x [*x]\n", {}).mistakes
    assert "nested deeper" in mistake.problem


def test_aliases_cannot_multiply_without_bound() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    (mistake,) = read_tree("\n".join(lines), {}).mistakes
    assert f"more than {VALUES_MAX}" in mistake.problem


def test_length_is_bounded() -> None:
    (mistake,) = read_tree("#" * (DOCUMENT_BYTES_MAX + 1), {}).mistakes
    assert mistake.problem == f"is longer than {DOCUMENT_BYTES_MAX} bytes"


def test_aliases_may_be_used() -> None:
    assert values("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


keys = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
trees = st.dictionaries(
    keys,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)),
    max_size=4,
)


@given(trees)
def test_what_is_written_is_read_back(tree: dict[str, Any]) -> None:
    assert values(dump(tree)) == tree


@pytest.mark.parametrize(
    "text", ["1e5", "0E0", ".5", "0o7", "on", "1_0", "12:30", "~", "", "a: b", "${A}", "$${A", "é", "\x85", "${ {"]
)
def test_text_that_looks_like_something_else_is_written_so_that_it_stays_text(text: str) -> None:
    assert values(dump({"a": text})) == {"a": text}


@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    read_tree(text, {})


@pytest.mark.parametrize(
    ("path", "text"), [((), ""), (("a",), "a"), (("a", "b"), "a.b"), (("a", "b", 1, "c"), "a.b[1].c")]
)
def test_places_are_written_with_dots_and_brackets(path: tuple[str | int, ...], text: str) -> None:
    assert dotted(path) == text
