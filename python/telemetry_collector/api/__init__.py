"""Listeners that answer questions rather than take data: today the workers, over HTTP."""
