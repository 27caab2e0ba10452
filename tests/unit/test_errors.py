from telemetry_collector.errors import (
    ConfigError,
    CoreError,
    EncodeError,
    JournalError,
    Mistake,
    PermanentError,
    RetryableError,
    TelemetryCollectorError,
)


def test_the_tree_is_the_one_drawn() -> None:
    assert issubclass(ConfigError, TelemetryCollectorError)
    assert issubclass(RetryableError, TelemetryCollectorError)
    assert issubclass(PermanentError, TelemetryCollectorError)
    assert issubclass(JournalError, CoreError)
    assert issubclass(EncodeError, CoreError)
    assert not issubclass(CoreError, TelemetryCollectorError)
    assert not issubclass(RetryableError, PermanentError)


def test_a_retryable_error_says_how_long_it_was_asked_to_wait() -> None:
    assert RetryableError("busy", retry_after_secs=2.5).retry_after_secs == 2.5
    assert RetryableError("busy").retry_after_secs is None
    assert str(RetryableError("busy", retry_after_secs=2.5)) == "busy"


def test_a_mistake_reads_as_key_value_problem_and_remedy() -> None:
    assert str(Mistake("a.b", "is bad", "use c", "4")) == "a.b = 4: is bad; use c"
    assert str(Mistake("a.b", "is bad")) == "a.b: is bad"
    assert str(Mistake("", "is bad", "use c")) == "is bad; use c"


def test_a_configuration_error_counts_its_mistakes() -> None:
    assert str(ConfigError([Mistake("a", "is bad", line=3)], "f.yaml")) == "1 mistake in f.yaml\nf.yaml:3: a: is bad"
    assert str(ConfigError([Mistake("a", "x"), Mistake("b", "y")])).startswith("2 mistakes in configuration\n")
    assert str(ConfigError([Mistake("a", "cannot be used")])) == "a: cannot be used", "on one line of a log"
