"""`telemetry-collector certs`: an authority for development and small fleets."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from telemetry_collector.security.description import Description

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("certs"),
    show_default=True,
    help="The authority's directory.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group(short_help="Make, revoke and read certificates.")
def certs() -> None:
    """Make, revoke and read certificates with an authority of your own: for development, tests and small fleets.

    \b
    Examples:
      telemetry-collector certs init
      telemetry-collector certs init --dir /etc/horizon/certs --host collector.example.org
      telemetry-collector certs issue gpu-07
      telemetry-collector certs revoke gpu-07
      telemetry-collector certs show
    """


def _command(name: str, help_line: str) -> Callable[[Callable[..., None]], click.Command]:
    return certs.command(name, short_help=help_line)


@_command("init", "Make an authority, a server's certificate and a first node's.")
@_directory
@click.option("--name", help="The collector's name in its certificate.  [default: this machine's]")
@click.option("--host", "hosts", multiple=True, help="A further name or address to reach the collector under; repeat.")
@click.option("--node", help="The first node's name.  [default: this machine's]")
@click.option("--force", is_flag=True, help="Replace all there is: everything issued before becomes worthless.")
@_as_json
def init(
    directory: Path, name: str | None, hosts: tuple[str, ...], node: str | None, force: bool, as_json: bool
) -> None:
    """Make an authority, a server's certificate (for localhost, this machine's name and every --host), a first node's
    certificate and an empty revocation list. What is there already stays as it is.

    The files are ca.pem, ca.crl, server.pem, server.key, node.pem and node.key, and ca.key, which makes new
    certificates: keep it to yourself.
    """
    from telemetry_collector.security.authority import set_up
    from telemetry_collector.security.description import describe

    files = set_up(directory, name=name, hosts=hosts, node=node, force=force)
    if as_json:
        click.echo(json.dumps({key: value if key == "made" else str(value) for key, value in asdict(files).items()}))
        return
    missing = set(hosts) - set(describe(files.server_certificate, datetime.now(UTC))[0].hosts)
    for kind, path in (("ca", files.ca), ("server", files.server_certificate), ("node", files.node_certificate)):
        click.echo(f"{'made' if kind in files.made else 'kept'}  {path}")
    if missing:
        names = " ".join(f"--dns {host}" for host in sorted(missing))
        click.echo(
            f"\n{files.server_certificate} was there and does not name {', '.join(sorted(missing))}; "
            "another certificate will:\n\n"
            f"  telemetry-collector certs issue collector --dir {directory} --server {names}"
        )
    click.echo(
        "\nThe collector's configuration, which agents need with node.pem and node.key:\n\n"
        "  security:\n"
        f"    tls_cert_path: {files.server_certificate}\n"
        f"    tls_key_path: {files.server_key}\n"
        f"    tls_ca_path: {files.ca}\n"
        f"    tls_crl_path: {files.crl}"
    )


@_command("issue", "Issue a node's or a server's certificate.")
@click.argument("name")
@_directory
@click.option(
    "--server", is_flag=True, help="For a collector; --dns gives the names and addresses it is reached under."
)
@click.option("--days", type=int, default=365, show_default=True, help="How long it is valid.")
@click.option("--uri", "uris", multiple=True, help="Identity, instead of spiffe://telemetry/node/NAME; repeat.")
@click.option("--dns", multiple=True, help="A DNS name in the certificate; without --uri it is the identity; repeat.")
@click.option("--file", help="Write FILE.pem and FILE.key.  [default: NAME]")
@click.option(
    "--force", is_flag=True, help="Replace the files if they exist; what they held stays valid until revoked."
)
@_as_json
def issue(
    name: str,
    directory: Path,
    server: bool,
    days: int,
    uris: tuple[str, ...],
    dns: tuple[str, ...],
    file: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Issue a certificate for the node NAME, or with --server for a collector.

    \b
    Examples:
      telemetry-collector certs issue gpu-07
      telemetry-collector certs issue collector --server --dns collector.example.org --dns 10.0.0.5
      telemetry-collector certs issue relay-eu --uri spiffe://telemetry/relay/eu
    """
    from telemetry_collector.security.authority import Authority

    if server and uris:
        raise click.UsageError("--uri is for nodes; a server is known by the names given with --dns")
    authority = Authority.open(directory)
    if server:
        issued = authority.issue_server(name, dns or (name,), file=file, days=days, force=force)
    else:
        issued = authority.issue_node(name, uris=uris, dns=dns, file=file, days=days, force=force)
    path = directory / issued.file
    if as_json:
        click.echo(json.dumps({**asdict(issued), "file": str(path), "key": str(path.with_suffix(".key"))}))
        return
    click.echo(f"made  {path}\nmade  {path.with_suffix('.key')}\nvalid until {issued.not_after}")


@_command("revoke", "Revoke certificates.")
@click.argument("name_or_serial")
@_directory
@_as_json
def revoke(name_or_serial: str, directory: Path, as_json: bool) -> None:
    """Revoke every certificate issued to a node or server, or the one with a serial, and sign the revocation list anew.

    Collectors act on the list named by security.tls_crl_path.
    """
    from telemetry_collector.security.authority import Authority

    revoked = Authority.open(directory).revoke(name_or_serial)
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in revoked]))
        return
    for entry in revoked:
        click.echo(f"revoked  {entry.name}  serial {entry.serial}")
    if not revoked:
        click.echo(f"{name_or_serial} was revoked before")
    click.echo(f"signed   {directory / 'ca.crl'}")


@_command("show", "Tell what certificates say, as the collector reads them.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_directory
@click.option(
    "--crl",
    type=click.Path(path_type=Path),
    help="Revocation list to judge by.  [default: ca.crl beside the file, else DIR/ca.crl]",
)
@_as_json
def show(files: Sequence[Path], directory: Path, crl: Path | None, as_json: bool) -> None:
    """Tell, for each certificate in FILES, or in the authority's directory, the identity and node that the collector
    takes its bearer for, how long it is valid and whether it is revoked.
    """
    from telemetry_collector.errors import CertificateError
    from telemetry_collector.security.description import describe, revoked_serials

    def revoked(path: Path) -> frozenset[int]:
        lists = [crl] if crl else [place / "ca.crl" for place in (path.parent, directory)]
        listed = next((each for each in lists if crl or each.exists()), None)
        return revoked_serials(listed) if listed else frozenset()

    paths = list(files) or sorted(directory.glob("*.pem"))
    if not paths:
        raise CertificateError(f"there are no certificates in {directory}; `telemetry-collector certs init` makes some")
    now = datetime.now(UTC)
    found = [description for path in paths for description in describe(path, now, revoked(path))]
    if as_json:
        click.echo(json.dumps([asdict(description) for description in found]))
    else:
        click.echo("\n\n".join(_block(description) for description in found))
    if any(description.status != "valid" for description in found) and files:
        sys.exit(1)


def _block(about: "Description") -> str:
    lines: Iterable[tuple[str, Any]] = (
        ("status", about.status),
        ("subject", about.subject),
        ("usage", about.usage),
        ("identity", about.identity),
        ("node", about.node),
        ("hosts", ", ".join(about.hosts)),
        ("valid", f"{about.not_before} to {about.not_after}"),
        ("serial", about.serial),
    )
    return "\n".join([about.file, *(f"  {name:<9} {value}" for name, value in lines if value)])
