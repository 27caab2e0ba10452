//! An agent's connections to a collector.
