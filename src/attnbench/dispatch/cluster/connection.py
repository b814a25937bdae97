"""The scheduler: at an address, with or without certificates, or with its workers on this machine."""

from __future__ import annotations

import ipaddress
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attnbench.errors import MissingExtraError, UsageError

ADDRESS = re.compile(r"(?:(?P<how>[a-z]+)://)?(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})/?")
HOWS = ("tcp", "tls")
CONNECT_S = 10
MOST_WORKERS = 64
LOOPBACK = "127.0.0.1"
COMMAND = "attnbench dispatch run"
# Workers on this machine: none of them looks at itself many times a second.
QUIET_WORKERS = {
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}


@dataclass(frozen=True)
class Certificates:
    """The files of TLS: of who signed, of this side, and its key. All three, or none."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def check(self) -> bool:
        """Whether they are given. Raises ``UsageError`` for one without the others, or one that is not there."""
        given = {"--tls-ca": self.ca, "--tls-cert": self.cert, "--tls-key": self.key}
        if not any(given.values()):
            return False
        if lacking := [name for name, file in given.items() if file is None]:
            msg = f"TLS takes --tls-ca, --tls-cert and --tls-key together; {' and '.join(lacking)} is missing"
            raise UsageError(msg)
        for name, file in given.items():
            if file is not None and not file.is_file():
                msg = f"{name} {file}: there is no such file; name the one that the scheduler's certificates go with"
                raise UsageError(msg)
        return True


@dataclass(frozen=True)
class ClusterWords:
    """Which cluster: the address of a scheduler, or so many workers on this machine."""

    scheduler: str | None = None
    workers: int | None = None
    certificates: Certificates = Certificates()
    token: str = "node"  # noqa: S105  (a resource of Dask, and no secret)

    def check(self) -> str | None:
        """The address, whole. Raises ``UsageError`` and its kin before anything is written."""
        check_dask_extra(COMMAND)
        with_tls = self.certificates.check()
        if (self.scheduler is None) == (self.workers is None):
            msg = (
                "name one cluster: --scheduler ADDRESS of one that is there (dask scheduler prints it), or --workers 3 "
                "for processes on this machine"
            )
            raise UsageError(msg)
        if not re.fullmatch(r"[A-Za-z][\w.-]*", self.token):
            msg = f"--resource {self.token}: write the name of a resource of Dask's workers, such as node"
            raise UsageError(msg)
        if self.scheduler is None:
            self._check_local(with_tls=with_tls)
            return None
        return _address(self.scheduler, with_tls=with_tls)

    def _check_local(self, *, with_tls: bool) -> None:
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            msg = f"--workers is from 1 to {MOST_WORKERS} processes on this machine; got {self.workers}"
            raise UsageError(msg)
        if with_tls:
            msg = "--workers stay on this machine and take no certificates; --tls-ca and its kin go with --scheduler"
            raise UsageError(msg)


def check_dask_extra(what: str) -> None:
    """Raise ``MissingExtraError`` where Dask's distributed is not installed."""
    if find_spec("distributed") is None:
        raise MissingExtraError(what, "dask", "distributed")


def _address(typed: str, *, with_tls: bool) -> str:
    parts = ADDRESS.fullmatch(typed.strip())
    such_as = "write HOST:PORT, as dask scheduler prints it: tcp://10.0.0.7:8786, or tls:// with certificates"
    if parts is None or (parts["how"] or "tcp") not in HOWS or not 0 < int(parts["port"]) < 2**16:
        msg = f"--scheduler {typed}: {such_as}"
        raise UsageError(msg)
    how = parts["how"] or ("tls" if with_tls else "tcp")
    if with_tls and how != "tls":
        msg = f"--scheduler {typed} is an address without encryption, and certificates are given; type tls:// instead"
        raise UsageError(msg)
    return f"{how}://{parts['host']}:{parts['port']}"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    parts = ADDRESS.fullmatch(address)
    host = parts["host"].strip("[]") if parts else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_to_network(address: str) -> str:
    """What to say of a scheduler that anybody on its network can use; empty where that is not so."""
    if is_loopback(address) or address.startswith("tls://"):
        return ""
    return (
        f"warning: {address} is not encrypted and asks nobody who they are: whoever can reach it can run programs as "
        "the users of the scheduler and of its workers, and can change results. Keep it in a network of your own, or "
        "use certificates (--tls-ca, --tls-cert, --tls-key; docs/dask.md says how)"
    )


@contextmanager
def connected(words: ClusterWords, note: Callable[[str], None]) -> Iterator[Any]:
    """A client of the cluster; one on this machine ends with it. Raises ``UsageError`` where nobody answers."""
    address = words.check()
    _hush()
    if address is None:
        with _local(words) as client:
            yield client
        return
    from distributed import Client

    security = _security(words.certificates)
    try:
        client = Client(address, timeout=CONNECT_S, security=security, set_as_default=False, name="attnbench")
    except Exception as error:
        msg = (
            f"no scheduler of Dask answers at {address} ({_reason(error)}); start one with: dask scheduler, and type "
            "the address that it prints"
        )
        raise UsageError(msg) from error
    try:
        # It may listen to a network, whatever it was reached by.
        listens = str(client.scheduler_info(n_workers=0)["address"])
        if warning := open_to_network(address) or open_to_network(listens):
            note(warning)
        yield client
    finally:
        _closed(client)


def _hush() -> None:
    """Let Dask keep to itself what the front says in its own words."""
    import distributed  # noqa: F401  (it sets the levels of its loggers when it is imported)

    for name in list(logging.root.manager.loggerDict):
        if name == "distributed" or name.startswith("distributed."):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _security(files: Certificates) -> Any:
    """Certificates that were typed, else those of Dask's own configuration."""
    from distributed import Security

    if not files.check():
        return Security()
    return Security(
        tls_ca_file=str(files.ca),
        tls_client_cert=str(files.cert),
        tls_client_key=str(files.key),
        require_encryption=True,
    )


def _reason(error: Exception) -> str:
    words = re.sub(r"in <[^>]*>: ", "", " ".join(str(error.__cause__ or error).split()))
    return words[:300] or type(error).__name__


@contextmanager
def _local(words: ClusterWords) -> Iterator[Any]:
    """Workers on this machine, reached by nobody else's: at loopback, without a page of their own."""
    import dask
    from distributed import Client, LocalCluster

    folder = mkdtemp(prefix="attnbench-dask-")
    try:
        with (
            dask.config.set(QUIET_WORKERS | {"temporary-directory": folder}),
            LocalCluster(
                n_workers=words.workers,
                threads_per_worker=1,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:0",
                memory_limit=0,
                resources={words.token: 1},
                silence_logs=logging.CRITICAL,
            ) as cluster,
        ):
            client = Client(cluster, set_as_default=False, name="attnbench")
            try:
                yield client
            finally:
                _closed(client)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _closed(client: Any) -> None:
    client.close(timeout=5)
