"""A document's text → plain values, each with its line.

The language is YAML with the types of its core schema 1.2: `true` and `false` are the only truth values (`on`, `yes`
and `no` are text), numbers have no sexagesimal or underscored forms, dates are text. A key given twice is a mistake, as
are tags, several documents in one text and anything nested or repeated (by aliases) beyond what a configuration needs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from telemetry_collector.config.substitution import substitute
from telemetry_collector.errors import Mistake

DOCUMENT_BYTES_MAX = 1024 * 1024
"""A longer document is refused."""
VALUES_MAX = 20_000
"""A document with more values, aliases counted as often as they are used, is refused."""
INT_DIGITS_MAX = 40
"""A number with more digits stays text, which no key takes for a number."""
DEPTH_MAX = 32
"""So deep may values be nested."""

Path = tuple[str | int, ...]
"""Where a value stands: `("parquet", "output_dir")`."""


@dataclass
class Tree:
    """A document's values and what is known about them."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    """Scalars as they were written, before substitution."""
    substituted: dict[Path, Any] = field(default_factory=dict)
    """Scalars with a variable in them. `values` holds these as text; here they are as YAML would type that text."""
    unresolved: set[Path] = field(default_factory=set)
    """Scalars whose mistake is told already, so that their value need not be judged."""
    mistakes: list[Mistake] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 (the base class declares it)


_TAG = "tag:yaml.org,2002:"
_TYPES = (
    # type, what it looks like, the characters that it can begin with; nothing at all is null too
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
CORE_SCHEMA = tuple((_TAG + name, re.compile(rf"(?:{pattern})\Z"), first) for name, pattern, first in _TYPES)
"""Which plain scalars are no text: tag, pattern, and the characters to look the pattern up by."""
_PATTERNS = {tag: pattern for tag, pattern, _ in CORE_SCHEMA}
for _tag, _pattern, _first in CORE_SCHEMA:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


def read_tree(text: str, environ: Mapping[str, str]) -> Tree:
    """Reads a document; an empty one has no values. Everything that is wrong is in the tree's `mistakes`."""
    tree = Tree()
    if len(text.encode(errors="surrogatepass")) > DOCUMENT_BYTES_MAX:
        tree.mistakes.append(Mistake("", f"is longer than {DOCUMENT_BYTES_MAX} bytes", "expected a configuration"))
        return tree
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError) as error:
        tree.mistakes.append(_syntax_mistake(error))
        return tree
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _TAG + "null"):
        return tree
    if not isinstance(root, yaml.MappingNode):
        tree.mistakes.append(
            Mistake("", "is no mapping", "expected sections such as `server:` with keys below them", line=_line(root))
        )
        return tree
    _Reader(tree, environ).mapping(root, ())
    return tree


class _Reader:
    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._environ = environ
        self._left = VALUES_MAX

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = self._tree.values if not path else {}
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._mistake(path, "has a key that is no text", "expected `key: value`", key_node)
                continue
            key = key_node.value
            here = (*path, key)
            if key in seen:
                self._mistake(here, f"is given twice, first on line {seen[key]}", "expected it once", key_node)
                continue
            seen[key] = _line(key_node)
            self._tree.lines[here] = _line(key_node)
            result[key] = self._value(value_node, here)
        return result

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._left -= 1
        if self._left == 0:
            self._mistake(path, f"is one value too many: more than {VALUES_MAX}", "expected a configuration", node)
        if self._left <= 0:
            return None
        if len(path) > DEPTH_MAX:
            self._mistake(path, f"is nested deeper than {DEPTH_MAX} levels", "expected a configuration", node)
            return None
        self._tree.lines.setdefault(path, _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._value(item, (*path, place)) for place, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, path)
        self._mistake(path, f"has the tag {node.tag}", "expected a plain value, without a tag", node)
        return None

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        result = substitute(node.value, self._environ)
        problems = [(problem, "") for problem in result.problems]
        if not _is_unicode(result.text):
            problems.append(("is not valid Unicode", "expected UTF-8 text"))
        if node.tag in _PATTERNS and not _PATTERNS[node.tag].match(node.value):
            problems.append((f"is not what its tag {node.tag} says", "expected a plain value, without a tag"))
        for problem, expected in problems:
            self._mistake(path, problem, expected, node)
        if problems:
            self._tree.unresolved.add(path)
            return ""
        if node.tag != _TAG + "null":
            self._tree.written[path] = node.value
        if result.substituted:
            self._tree.substituted[path] = _typed(_resolve(result.text), result.text)
        return _typed(node.tag, node.value) if result.text == node.value else result.text

    def _mistake(self, path: Path, problem: str, expected: str, node: yaml.Node) -> None:
        self._tree.mistakes.append(Mistake(dotted(path), problem, expected, line=_line(node)))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _int(text: str) -> int | str:
    if len(text) > INT_DIGITS_MAX:
        return text
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


_SCALARS: dict[str, Any] = {
    _TAG + "str": str,
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": _int,
    _TAG + "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}


def _typed(tag: str, text: str) -> Any:
    return _SCALARS[tag](text)


def _resolve(text: str) -> str:
    """The tag of a text as it would be written without quotes."""
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], []):
        if pattern.match(text):
            return str(tag)
    return _TAG + "str"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_mistake(error: Exception) -> Mistake:
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, RecursionError):
        return Mistake("", "is nested too deeply to be read", "expected a configuration")
    if mark is None:
        return Mistake("", f"is not YAML: {' '.join(str(error).split())}", "expected readable text")
    problem = getattr(error, "problem", None) or "it cannot be read"
    context = getattr(error, "context", None)
    text = f"{context}, {problem}" if context else problem
    return Mistake("", f"is not YAML: column {mark.column + 1}: {text}", line=mark.line + 1)


def dotted(path: Path) -> str:
    """`limits.max_batch_size`, `agent.collectors[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
