"""The Dockerfile.

Images cannot be built where this project is tested, so its steps are scripts, and the scripts run here.
"""

import http.server
import os
import re
import shlex
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run as run_anyhow

import pytest
from tests.deployment.conftest import Installation
from tests.support.dockerfile import Instruction, instructions
from tests.support.repository import REPOSITORY, run, tracked_files


def last_stage() -> list[Instruction]:
    every = instructions()
    begin = max(place for place, (word, _) in enumerate(every) if word == "FROM")
    return every[begin:]


def test_the_image_is_built_in_stages_and_the_last_has_no_compiler() -> None:
    stages = [rest for word, rest in instructions() if word == "FROM"]
    assert len(stages) == 3
    assert stages[-1].startswith("python:")


def test_the_image_does_not_run_as_root() -> None:
    users = [rest for word, rest in last_stage() if word == "USER"]
    assert users
    uid, gid = users[-1].split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    own = [shlex.split(rest)[-2:] for word, rest in last_stage() if word == "RUN" and "directories.sh" in rest]
    assert own == [[uid, gid]], "the state directory belongs to the user that runs"


def test_the_image_says_whether_it_is_healthy_and_starts_the_collector() -> None:
    stage = dict(last_stage())
    assert "healthcheck.py" in stage["HEALTHCHECK"]
    assert stage["ENTRYPOINT"] == '["telemetry-collector"]'
    assert stage["CMD"] == '["run", "/etc/horizon/telemetry-collector.yaml"]'
    assert stage["EXPOSE"] == "5001/udp 9091/tcp"


def test_what_is_copied_is_committed_and_let_in_by_dockerignore() -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore, "nothing gets in unless it is named"
    committed = tracked_files()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert any(path == Path(name) or Path(name) in path.parents for path in committed), (
                    f"{name} is not committed"
                )
                assert name.split("/")[0] in let_in, f"{name} is kept out by .dockerignore"


def test_every_script_that_the_image_runs_is_copied_and_executable() -> None:
    scripts = {
        match for word, rest in instructions() if word == "RUN" for match in re.findall(r"deploy/[\w-]+\.sh", rest)
    }
    assert scripts == {"deploy/build-wheel.sh", "deploy/install.sh", "deploy/directories.sh"}
    copied = " ".join(rest for word, rest in instructions() if word == "COPY")
    for script in scripts:
        assert script in copied
        assert os.access(REPOSITORY / script, os.X_OK)


@pytest.mark.slow
def test_the_steps_give_a_working_collector(installation: Installation, tmp_path: Path) -> None:
    """The fixture ran the scripts of the first two stages; this is the last one's."""
    run(installation.source / "deploy/directories.sh", tmp_path, str(os.getuid()), str(os.getgid()))
    state = tmp_path / "var/lib/horizon"
    assert stat.S_IMODE(state.stat().st_mode) == 0o750
    assert (state / "telemetry").is_dir()
    assert (tmp_path / "etc/horizon/certs").is_dir()
    assert "run" in run(installation.command, "--help", cwd=tmp_path)


@contextmanager
def health_answers(status: int) -> Iterator[int]:
    """A server on loopback that answers every GET so; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"ok": false}')

        def log_message(self, *_args: object) -> None:
            """Nothing on the test's standard error."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def healthcheck(port: int) -> tuple[int, str]:
    done = run_anyhow(
        [sys.executable, str(REPOSITORY / "deploy/healthcheck.py"), str(port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_the_health_check_passes_on_what_the_collector_says(status: int, expected: int) -> None:
    with health_answers(status) as port:
        code, words = healthcheck(port)
    assert code == expected
    assert words == f'{status} {{"ok": false}}\n'


def test_a_collector_that_does_not_answer_is_not_healthy() -> None:
    with health_answers(200) as port:
        pass
    code, words = healthcheck(port)
    assert code == 1
    assert words.startswith(f"no answer on 127.0.0.1:{port}")
