"""Environment variables in a document's values.

`${NAME}` is the variable's value; it must be set. `${NAME:-default}` is the default where the variable is unset or
empty; the default runs to the next `}`. `$${` stands for `${` itself; every other `$` is a plain character. What a
variable holds is not looked into again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_REFERENCE = re.compile(
    r"""
      (?P<escaped> \$\$\{ )
    | \$\{ (?P<name> [A-Za-z_][A-Za-z0-9_]* ) (?: :- (?P<default> [^}]* ) )? \}
    | (?P<broken> \$\{ [^}]* \}? )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Substitution:
    """What became of a text."""

    text: str
    """The text with every reference that could be resolved replaced."""
    substituted: bool
    """Whether something came from outside the document, or could have: a reference stood here."""
    problems: tuple[str, ...] = ()
    """What is wrong, a clause for each reference that cannot be resolved."""


def substitute(text: str, environ: Mapping[str, str]) -> Substitution:
    """Resolves the references in a text."""
    if "${" not in text:
        return Substitution(text, substituted=False)
    problems: list[str] = []
    substituted = False

    def resolve(match: re.Match[str]) -> str:
        nonlocal substituted
        if match["escaped"]:
            return "${"
        if match["broken"]:
            problems.append(
                f"{match['broken']} names no variable; write ${{NAME}}, ${{NAME:-default}}, or $${{ for a plain ${{"
            )
            return match[0]
        substituted = True
        name, default = match["name"], match["default"]
        value = environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            problems.append(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
            return match[0]
        return value

    return Substitution(_REFERENCE.sub(resolve, text), substituted, tuple(problems))
