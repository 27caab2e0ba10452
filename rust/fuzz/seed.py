#!/usr/bin/env python3
"""Writes the frames of the wire's test vectors as a first corpus: seed.py DIRECTORY."""

import json
import sys
from pathlib import Path

PREFIX_BYTES = 4


def main() -> None:
    """One file a vector, without its length prefix; a first byte tells the target how to cut the stream.

    What a vector's references are does not matter: the target has some of version 1 for most series.
    """
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    vectors = Path(__file__).resolve().parents[2] / "docs" / "wire-vectors"
    for vector in sorted(vectors.glob("*.json")):
        frame = bytes.fromhex(json.loads(vector.read_text(encoding="utf-8"))["frame"])
        (corpus / vector.stem).write_bytes(b"\x07" + frame[PREFIX_BYTES:])


if __name__ == "__main__":
    main()
