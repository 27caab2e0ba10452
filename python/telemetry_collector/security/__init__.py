"""Certificates: who a peer is, whether it may come in, and an authority for development."""
