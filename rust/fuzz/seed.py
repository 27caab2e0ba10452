#!/usr/bin/env python3
"""Writes first corpora, the frames of the wire's test vectors and pages of metrics: seed.py DIRECTORY."""

import json
import sys
from pathlib import Path

PREFIX_BYTES = 4
TEXT, OPENMETRICS = b"\x03", b"\x04"
"""The first byte of a request tells the target its form and encoding."""
PAGES = {
    "text": TEXT
    + b"""# HELP a_total All.
# TYPE a_total counter
a_total{b="c\\"\\n"} 1 1795000000000
# TYPE d histogram
d_bucket{le="1"} 2
d_bucket{le="+Inf"} 3
d_sum 4
d_count 3
""",
    "openmetrics": OPENMETRICS
    + b"""# TYPE a counter
# UNIT e_seconds seconds
a_total{b="c # {"} 1 1795000000.5 # {trace_id="x"} 0.5 1795000000
a_created{b="c"} 1795000000
# TYPE d gaugehistogram
d_bucket{le="+Inf"} 3
d_gcount 3
d_gsum -1
# TYPE e_seconds summary
e_seconds{quantile="0.5"} NaN
e_seconds_count 1
e_seconds_sum 2
# EOF
""",
}


def main() -> None:
    """A directory a target below the one that is given."""
    corpus = Path(sys.argv[1])
    frames(corpus / "frame")
    requests = corpus / "request"
    requests.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (requests / name).write_bytes(page)


def frames(corpus: Path) -> None:
    """One file a vector, without its length prefix; a first byte tells the target how to cut the stream.

    What a vector's references are does not matter: the target has some of version 1 for most series.
    """
    corpus.mkdir(parents=True, exist_ok=True)
    vectors = Path(__file__).resolve().parents[2] / "docs" / "wire-vectors"
    for vector in sorted(vectors.glob("*.json")):
        frame = bytes.fromhex(json.loads(vector.read_text(encoding="utf-8"))["frame"])
        (corpus / vector.stem).write_bytes(b"\x07" + frame[PREFIX_BYTES:])


if __name__ == "__main__":
    main()
