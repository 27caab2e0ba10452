"""The Parquet dataset: what one process writes and any other reads.

Layout of a dataset's directory:

    date=2026-11-22/hour=07/<journal id>-<start>-<end>.parquet   published parts; readers list date=*/hour=*/*.parquet
    .staging/                                                    work in progress; always garbage when a process starts
    .lock                                                        held by the one process that writes

A part holds every point of the journal's range [start, end) that was received in its hour, and is never changed once
its name is visible.
"""
