"""What a reader of the repository must never stumble over."""

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from tests.support.repository import REPOSITORY, tracked_files

LINES_MAX = 500
"""A file that is longer has more than one idea."""
TEST_LINES_MAX = 600
"""Tests of one idea may need a few more."""
NOT_BY_HAND = {"Cargo.lock", "LICENSE"}
"""Texts that others write."""

CARGO_SOURCE = 'source = "registry+https://github.com/rust-lang/crates.io-index"'
"""How every Cargo.lock names the one registry that cargo knows by default; it is a name, not an address to ask."""

REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("index", "crates", "io"),
        ("static", "crates", "io"),
        ("proxy", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("maven", "org"),
        ("docker", "io"),
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w|\.\./shared\b|/opt/wheel(?:s)\b")


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked_files():
        data = (REPOSITORY / path).read_bytes()
        if b"\0" not in data:
            found.append((path, data.decode("utf-8", errors="replace")))
    return found


def test_no_file_names_a_registry() -> None:
    named = [(str(path), host) for path, text in texts() for host in REGISTRIES if host in text]
    assert named == []


def test_cargo_resolves_from_the_default_registry_alone() -> None:
    sources = {line for line in (REPOSITORY / "Cargo.lock").read_text().splitlines() if line.startswith("source = ")}
    assert sources == {CARGO_SOURCE}


def test_nodes_packages_are_pinned_by_hashes_and_by_no_address() -> None:
    locked = json.loads((REPOSITORY / "tests/clients/node/package-lock.json").read_text())["packages"]
    packages = {name: package for name, package in locked.items() if name}
    assert packages
    assert [name for name, package in packages.items() if "resolved" in package or "integrity" not in package] == []


def test_no_file_has_a_path_of_somebodys_machine() -> None:
    found = [(str(path), match.group()) for path, text in texts() for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_no_key_is_committed() -> None:
    begin = "-----BEGIN " + "(?:[A-Z]+ )?PRIVATE KEY-----"
    assert [str(path) for path, text in texts() if re.search(begin, text)] == []
    assert [
        str(path) for path in tracked_files() if path.parts[0] == "certs" and path.suffix not in (".md", ".sh")
    ] == []


def test_every_text_ends_with_one_newline_and_no_line_with_a_blank() -> None:
    wrong = [
        str(path)
        for path, text in texts()
        if text and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]+$", text, re.MULTILINE))
    ]
    assert [path for path in wrong if Path(path).name not in NOT_BY_HAND] == []


def test_no_file_grew_beyond_one_idea() -> None:
    lines = {path: text.count("\n") for path, text in texts() if path.suffix in (".py", ".rs")}
    bounds = {path: TEST_LINES_MAX if "test" in str(path) else LINES_MAX for path in lines}
    assert {str(path): count for path, count in lines.items() if count > bounds[path]} == {}


def test_the_licence_is_apache_2() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert "END OF TERMS AND CONDITIONS" in text
    assert project()["project"]["license"] == "Apache-2.0"
    assert cargo()["workspace"]["package"]["license"] == "Apache-2.0"


# ---- requirements ----------------------------------------------------------------------------------------------------


def project() -> dict[str, dict[str, str]]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def cargo() -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads((REPOSITORY / "Cargo.toml").read_text())


def locked(name: str) -> dict[str, str]:
    """Packages and versions of a lock; each must come with its hashes."""
    text = (REPOSITORY / "requirements" / name).read_text()
    entries = re.findall(
        r"^([a-z0-9][\w.-]*)==(\S+)(?: ; .*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M
    )
    assert len(entries) == len(re.findall(r"^[a-z0-9]", text, re.M)), f"{name} has an entry without hashes"
    return {package: version for package, version, _ in entries}


def packages(requirements: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[._-]+", "-", name.group()).lower() for name in names if name}


@pytest.mark.parametrize("smaller", ["runtime.lock", "build.lock"])
def test_one_environment_can_hold_all_locks(smaller: str) -> None:
    assert locked(smaller).items() <= locked("dev.lock").items()


def test_the_locks_have_what_the_project_asks_for() -> None:
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    runtime, dev = packages(config["project"]["dependencies"]), packages(config["dependency-groups"]["checks"])
    assert runtime <= set(locked("runtime.lock"))
    assert runtime | dev <= set(locked("dev.lock"))
    assert not dev & set(locked("runtime.lock")) - runtime - {"typing-extensions"}, "tools do not belong on a server"


def test_every_package_that_is_imported_is_asked_for() -> None:
    """A package that is only there because another one wants it may be gone tomorrow."""
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = (package for extra in config["project"]["optional-dependencies"].values() for package in extra)
    asked = packages([*config["project"]["dependencies"], *extras])
    module_of = {
        "opentelemetry": "opentelemetry-sdk",
        "google": "protobuf",
        "grpc": "grpcio",
        "grpc_health": "grpcio-health-checking",
        "grpc_reflection": "grpcio-reflection",
        "pydantic_core": "pydantic",
        "pynvml": "nvidia-ml-py",
        "yaml": "pyyaml",
    }
    known = sys.stdlib_module_names | {"telemetry_collector"}
    imported: dict[str, str] = {}
    for path in tracked_files():
        if path.parts[0] == "python" and path.suffix == ".py":
            for module in runtime_imports(ast.parse((REPOSITORY / path).read_text())):
                if module not in known:
                    imported.setdefault(module_of.get(module, module.replace("_", "-")), str(path))
    assert {name: path for name, path in imported.items() if name not in asked} == {}


def runtime_imports(tree: ast.AST) -> set[str]:
    """Top-level names of the modules that are imported when the code runs, rather than only when types are checked."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        return set()
    if isinstance(tree, ast.Import):
        return {alias.name.split(".")[0] for alias in tree.names}
    if isinstance(tree, ast.ImportFrom):
        return {tree.module.split(".")[0]} if tree.module and tree.level == 0 else set()
    return set().union(*(runtime_imports(child) for child in ast.iter_child_nodes(tree)))
