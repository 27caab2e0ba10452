"""From received bytes to every consumer: the core behind the listeners, and the fan-out behind the journal."""
