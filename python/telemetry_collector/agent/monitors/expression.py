"""Regular expressions that take time linear in the text, whatever they are.

Python's own may take for ever on an unlucky text, and hold the whole process meanwhile. RE2 cannot, and comes with
Arrow, which reading the dataset needs anyway; an agent loads it only when a check has an expression.
"""

import pyarrow as pa
from pyarrow import compute


class Expression:
    """A compiled regular expression in RE2's words."""

    def __init__(self, pattern: str) -> None:
        """ValueError when it is none."""
        self.pattern = pattern
        try:
            self.found_in(b"")
        except pa.ArrowInvalid as error:
            raise ValueError(f"is no regular expression: {error}; expected one in the words of RE2") from error

    def found_in(self, text: bytes) -> bool:
        """Whether some part of a text matches."""
        matches = compute.match_substring_regex(pa.array([text], pa.binary()), pattern=self.pattern)
        return bool(matches[0].as_py())
