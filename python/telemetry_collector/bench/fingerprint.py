"""A number for what a batch holds: of every name, tag, time and value, and the same in whatever order the rows stand.

Sums of values or of times would not tell that two series have exchanged their values. So each row has a number of its
own, in which nothing can be exchanged for anything else, and the batch has their sum. All of it is modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from telemetry_collector.model import STANDARD_TAGS

TEXTS: Final = ("name", "type", "unit", *STANDARD_TAGS)
"""Columns of text that count."""

_OF_TEXTS: Final = 0x9E3779B97F4A7C15 - (1 << 64)
_OF_TIMES: Final = 0x2545F4914F6CDD1D
_OF_VALUES: Final = 0x1B873593CC9E2D51
"""Odd, and without a pattern: products with them lose nothing and mix well."""


def of_rows(texts: Sequence[pa.Array], moments_ns: pa.Array, values: pa.Array) -> pa.Array:
    """A signed number for each row. `texts` are those of `TEXTS`, each as numbers (`of_texts`)."""
    series = texts[0]
    for numbers in texts[1:]:
        series = pc.add(pc.multiply(series, _OF_TEXTS), numbers)
    where = pc.bit_wise_xor(series, pc.multiply(moments_ns, _OF_TIMES))
    # The bits of most values end in zeros, with which a product would lose what it is told of the rest.
    return pc.multiply(where, pc.bit_wise_xor(values.view(pa.int64()), _OF_VALUES))


def of_texts(texts: Iterable[str | None]) -> pa.Array:
    """A number for each text, and for no text."""
    return pa.array([_of_text(text) for text in texts], pa.int64())


@cache
def _of_text(text: str | None) -> int:
    return 0 if text is None else int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), signed=True)


def of_stored(rows: pa.RecordBatch) -> pa.Array:
    """The same for rows of the dataset; columns of text are dictionaries."""
    texts = []
    for name in TEXTS:
        column = rows.column(name)
        numbers = of_texts(column.dictionary.to_pylist()).take(column.indices)
        texts.append(numbers.fill_null(_of_text(None)))
    moments = rows.column("timestamp").cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
    return of_rows(texts, moments, rows.column("value").fill_null(float("nan")))
