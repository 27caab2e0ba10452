"""How the collector is watched: logs, metrics, the endpoint that shows them, and word to the service manager."""
