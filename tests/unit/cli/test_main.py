"""The command as a whole: help, version, the command that goes without saying, and exit codes."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.support.repository import REPOSITORY
from tests.unit.cli.conftest import Command

import telemetry_collector
from telemetry_collector.cli.main import COMMANDS, cli

HEAVY = ("aiohttp", "aioquic", "cryptography", "prometheus_client", "pyarrow", "pydantic", "structlog", "yaml")


def every_command() -> list[list[str]]:
    context = click.Context(cli)
    found = []
    for name in cli.list_commands(context):
        found.append([name])
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            found += [[name, inner] for inner in command.list_commands(context)]
    return found


def test_help_lists_every_command_with_what_it_does_examples_and_exit_codes(command: Command) -> None:
    result = command("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.output
    assert "Examples:" in result.output
    assert "Exit codes:" in result.output
    assert command("-h").output == result.output


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_each_command_explains_itself_and_every_option(command: Command, words: list[str]) -> None:
    result = command(*words, "--help")
    assert result.exit_code == 0
    found = cli.get_command(click.Context(cli), words[0])
    for inner in words[1:]:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), inner)
    assert found is not None
    assert found.help
    assert found.get_short_help_str(limit=200).endswith(".")
    for option in found.params:
        assert isinstance(option, click.Argument) or getattr(option, "help", None), option.name


def test_help_imports_nothing_that_takes_time() -> None:
    program = (
        "import sys\n"
        "from telemetry_collector.cli.main import cli\n"
        "try:\n    cli(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(REPOSITORY / "python"), "PATH": ""},
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(command: Command) -> None:
    result = command("--version")
    assert (result.exit_code, result.output) == (0, f"telemetry-collector {telemetry_collector.__version__}\n")


def test_without_a_command_the_collector_runs(command: Command) -> None:
    for words in ([], ["run"]):
        result = command(*words)
        assert result.exit_code == 1
        assert "server.pem" in result.stderr
    Path("mine.yaml").write_text("server: {}")
    assert command("mine.yaml").stderr == command("run", "mine.yaml").stderr


def test_a_word_that_is_neither_command_nor_file_is_corrected(command: Command) -> None:
    result = command("chek")
    assert result.exit_code == 2
    assert "'chek' is neither a command nor a file; did you mean check?" in result.stderr
    assert "commands are run, check, agent, demo, certs" in command("xyzzy").stderr
    Path("chek").write_text("server: {}")
    assert command("chek").exit_code == 1


def test_an_option_that_is_none_is_refused(command: Command) -> None:
    result = command("--verbos")
    assert result.exit_code == 2
    assert "--verbos" in result.stderr


def test_running_the_package_is_running_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "telemetry_collector", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(REPOSITORY / "python"), "PATH": ""},
    )
    assert done.stdout == f"telemetry-collector {telemetry_collector.__version__}\n"


def test_ctrl_c_is_no_mistake_of_the_users(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("telemetry_collector.cli.documents.load_collector", interrupted)
    result = command("check")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "telemetry-collector: interrupted\n")


@pytest.mark.parametrize("words", [("certs", "--help"), ("--version",)])
def test_an_output_that_is_full_is_told_without_a_traceback(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "telemetry_collector", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
    told = "telemetry-collector: cannot write what is to be printed: no space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_a_place_that_cannot_be_looked_at_is_not_said_to_be_absent(command: Command) -> None:
    result = command("dataset", "verify", "n" * 300)
    assert result.exit_code == 2
    assert "cannot be looked at: file name too long" in " ".join(result.stderr.split())
    assert "does not exist" in command("dataset", "verify", "nowhere").stderr


@pytest.mark.parametrize(
    "words", [("--agents", "0"), ("--writers", "foo"), ("--target", "x:1"), ("--key", "/dev/null")]
)
def test_a_bench_that_contradicts_itself_is_a_command_line_that_is_not_understood(
    command: Command, words: tuple[str, str]
) -> None:
    result = command("bench", *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr
