"""Imports go down only, and some things have few importers.

The layers are written in pyproject.toml, where `lint-imports` reads them; these tests show that they hold and that a
breach is noticed.
"""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repository import REPOSITORY

PACKAGE = REPOSITORY / "python" / "telemetry_collector"

IMPORTERS = {
    "telemetry_collector._core": {
        "telemetry_collector.app",
        "telemetry_collector.bench",
        "telemetry_collector.errors",
        "telemetry_collector.listeners.quic_quinn",
        "telemetry_collector.listeners.requests",
        "telemetry_collector.pipeline",
        "telemetry_collector.rollups",
        "telemetry_collector.sender",
        "telemetry_collector.store.encoding",
        "telemetry_collector.store.signals",
        "telemetry_collector.writers",
    },
    "aioquic": {
        "telemetry_collector.listeners.quic_aioquic",
        # Nodes probe each other by QUIC's datagrams, which the core's QUIC has no door for.
        "telemetry_collector.probe",
        # What aioquic lacks of mutual TLS, for the listener and for probes.
        "telemetry_collector.security.mtls",
        "telemetry_collector.sender",
    },
    "duckdb": {"telemetry_collector.query"},
}
"""What may be imported by few, and by whom; a package stands for all that is in it."""


def lint_imports(source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--config", source / "pyproject.toml"],
        cwd=source,
        env={"PYTHONPATH": str(source / "python"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def imports(text: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Every module that a module's text imports, wherever in it; names imported from a package count as modules too."""
    parents = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{name.name}" for name in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def breaches(module: str, text: str, *, is_package: bool = False) -> list[str]:
    return sorted(
        {
            f"{module} imports {restricted}"
            for imported in imports(text, module, is_package=is_package)
            for restricted, importers in IMPORTERS.items()
            if within(imported, restricted) and not any(within(module, importer) for importer in importers)
        }
    )


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def test_imports_go_down_only() -> None:
    done = lint_imports(REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("model.py", "from telemetry_collector.cli import main"),
        ("config/show.py", "from telemetry_collector.observe import logs"),
        ("observe/logs.py", "def later():\n    import telemetry_collector.config"),
        ("unheard_of.py", ""),
    ],
)
def test_an_import_that_goes_up_or_sideways_or_a_module_without_a_layer_is_noticed(
    tmp_path: Path, file: str, line: str
) -> None:
    for name in ("pyproject.toml", "python"):
        origin = REPOSITORY / name
        if origin.is_dir():
            shutil.copytree(origin, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(origin, tmp_path / name)
    with (tmp_path / "python" / "telemetry_collector" / file).open("a") as module:
        module.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0, done.stdout


def test_only_those_who_may_import_what_few_may() -> None:
    found = modules()
    assert len(found) > 20
    assert [
        breach
        for module, path in found
        for breach in breaches(module, path.read_text(), is_package=path.name == "__init__.py")
    ] == []


@pytest.mark.parametrize(
    ("module", "text", "restricted"),
    [
        ("telemetry_collector.cli.run", "from telemetry_collector import _core", "telemetry_collector._core"),
        ("telemetry_collector.cli.run", "from .. import _core", "telemetry_collector._core"),
        ("telemetry_collector.model", "from ._core import Ingest", "telemetry_collector._core"),
        ("telemetry_collector.agent.x", "def later():\n    import aioquic.tls", "aioquic"),
        ("telemetry_collector.store.x", "if TYPE_CHECKING:\n    import duckdb", "duckdb"),
        ("telemetry_collector.senders", "import aioquic", "aioquic"),
    ],
)
def test_a_forbidden_import_is_noticed_wherever_it_stands(module: str, text: str, restricted: str) -> None:
    assert breaches(module, text) == [f"{module} imports {restricted}"]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("telemetry_collector.errors", "from telemetry_collector._core import CoreError"),
        ("telemetry_collector.sender.session", "from aioquic.quic import events"),
        ("telemetry_collector.cli.run", "import aioquicky\nfrom telemetry_collector import app"),
    ],
)
def test_an_allowed_import_is_let_be(module: str, text: str) -> None:
    assert breaches(module, text) == []
