"""A Postfix of our own: its own folders and high ports on loopback, started and ended by the test."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from tests.waiting import until

PATIENCE = 60.0
"""Seconds a test waits for what must come."""

DOMAIN = "example.com"
USERNAME, PASSWORD = "knell", "canary-pass"
MAILBOXES = ("team", "ops", "busy", "slow", "full", "team+blind", *(f"team+{n}" for n in range(5)))
DAEMONS = Path("/usr/lib/postfix/sbin")

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
maillog_file = /dev/stdout
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.{domain}
mydestination =
# Postfix spares its own networks from limits.
mynetworks = 192.0.2.0/24
smtpd_client_event_limit_exceptions =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = hash:{folder}/etc/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
message_size_limit = 100000
header_checks = regexp:{folder}/etc/header_checks
smtpd_recipient_restrictions = check_recipient_access hash:{folder}/etc/access, reject_unauth_destination
smtpd_sender_login_maps = regexp:{folder}/etc/logins
smtpd_tls_cert_file = {folder}/etc/server.pem
smtpd_tls_key_file = {folder}/etc/server.pem
smtpd_tls_auth_only = yes
smtpd_sasl_type = cyrus
smtpd_sasl_local_domain = {domain}
"""

_LOGIN = (
    "-o smtpd_sasl_auth_enable=yes"
    " -o { smtpd_sender_restrictions = reject_sender_login_mismatch, permit_sasl_authenticated, reject }"
)
SERVICES = {
    "submission": f"-o smtpd_tls_security_level=encrypt {_LOGIN}",
    "smtps": f"-o smtpd_tls_wrappermode=yes {_LOGIN}",
    "login": f"-o smtpd_tls_security_level=encrypt {_LOGIN} -o smtpd_sasl_path=login",
    "cram": f"-o smtpd_tls_security_level=encrypt {_LOGIN} -o smtpd_sasl_path=cram",
    "relay": "-o smtpd_tls_security_level=none",
    "few": "-o smtpd_tls_security_level=none -o smtpd_recipient_limit=2",
    "rated": "-o smtpd_tls_security_level=none -o smtpd_client_message_rate_limit=2",
    "crowded": "-o smtpd_tls_security_level=none -o smtpd_client_connection_rate_limit=1",
}
"""Ports by name, and how they differ."""

_MASTER = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def installed() -> None:
    """Install Postfix where this may be done, or skip the test with the reason.

    It is configured as "No configuration", so that no service of the machine starts with it.
    """
    if DAEMONS.joinpath("master").exists() and shutil.which("saslpasswd2"):
        if os.geteuid() != 0:
            pytest.skip("Postfix needs root: its master changes users")
        return
    if os.geteuid() != 0:
        pytest.skip("Postfix is not installed, and apt-get needs root: apt-get install postfix sasl2-bin")
    if shutil.which("apt-get") is None:
        pytest.skip("Postfix is not installed, and there is no apt-get to install it with")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    choice = "postfix postfix/main_mailer_type select No configuration\n"
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=240"]
    for command, said in (
        (["debconf-set-selections"], choice),
        (["apt-get", "update", "-qq"], ""),
        ([*install, "postfix", "sasl2-bin", "libsasl2-modules"], ""),
    ):
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, input=said, capture_output=True, text=True, check=False, env=environ
        )
        if done.returncode:
            pytest.skip(f"{' '.join(command)} failed: {done.stderr.strip()[-200:]}")


class Postfix:
    """A mail server with one account, and mailboxes that a test can look into.

    Attributes:
        ports: of the services, by name.
        folder: all it has on this machine.
        ca_file: PEM file of the authority that signed its certificate.
    """

    def __init__(self) -> None:
        # Not pytest's folder: that is closed for the user Postfix runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="knell-postfix-"))
        self.folder.chmod(0o755)
        self.ports = dict(zip(SERVICES, _free_ports(len(SERVICES)), strict=True))
        self.ca_file = str(self.folder / "etc/ca.pem")
        for name in ("etc/sasl", "queue", "data", "mail"):
            self.folder.joinpath(name).mkdir(parents=True)
        shutil.chown(self.folder / "data", "postfix")
        os.chown(self.folder / "mail", 65534, 65534)
        self._configure()
        self._log = self.folder.joinpath("log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            ["/usr/sbin/postfix", "-c", f"{self.folder}/etc", "start-fg"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._until(lambda: "daemon started" in self.log or self._process.poll() is not None)
            self._until(lambda: _answers(self.ports["relay"]))
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.folder.joinpath("log").read_text(errors="replace")

    def access(self, **answers: str) -> None:
        """Set what RCPT answers by local part; connections made from now on see it."""
        self._map("access", {f"{name}@{DOMAIN}": answer for name, answer in answers.items()})

    def copies(self, address: str) -> Counter[str]:
        """Return how often a mailbox has got each Message-ID, once nothing is on its way any more."""
        return Counter(str(mail["Message-ID"]) for mail in self.mails(address))

    def mails(self, address: str) -> list[EmailMessage]:
        """Return the mails of a mailbox, once nothing is on its way any more."""
        return [message_from_bytes(mail, policy=policy.default) for mail in self.octets(address)]

    def octets(self, address: str) -> list[bytes]:
        """Return the mails of a mailbox as they lie there."""
        self._until(lambda: not self._on_their_way())
        new = self.folder / "mail" / address.partition("@")[0] / "new"
        return [file.read_bytes() for file in sorted(new.iterdir())] if new.is_dir() else []

    def stop(self) -> None:
        """End it, and remove all it had."""
        try:
            # Its master leads a process group of its own, so that a signal to ours would not reach it.
            self._order("stop")
            self._process.wait(PATIENCE)
        finally:
            if self._process.poll() is None:
                self._order("abort")
                self._process.kill()
                self._process.wait()
            self._log.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _order(self, word: str) -> None:
        command = ["/usr/sbin/postfix", "-c", f"{self.folder}/etc", word]
        subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)  # noqa: S603 - our own

    def _on_their_way(self) -> list[Path]:
        queues = (self.folder / "queue" / name for name in ("maildrop", "incoming", "active", "deferred"))
        return [file for queue in queues for file in queue.rglob("*") if file.is_file()]

    def _configure(self) -> None:
        self._write("main.cf", MAIN.format(folder=self.folder, daemons=DAEMONS, domain=DOMAIN))
        services = (
            f"127.0.0.1:{port} inet n - n - - smtpd {SERVICES[name]}\n" for name, port in self.ports.items()
        )
        self._write("master.cf", _MASTER + "".join(services))
        self._map("mailboxes", {f"{name}@{DOMAIN}": f"{name}/" for name in MAILBOXES})
        self._write("header_checks", "/^Subject:.*forbidden/ REJECT 5.7.1 No such words here\n")
        self._write("logins", f"/^knell@/ {USERNAME}@{DOMAIN}\n/./ nobody@{DOMAIN}\n")
        self.access()
        self._certify()
        self._admit()

    def _certify(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        leaf = authority.issue_cert("127.0.0.1")
        self._write("server.pem", leaf.private_key_and_cert_chain_pem.bytes().decode())

    def _admit(self) -> None:
        """Make the one account, in a database that Postfix's user may read.

        Debian's Postfix looks for SASL's settings beside its own.
        """
        sasl = self.folder / "etc/sasl"
        database = sasl / "sasldb2"
        for name, mechanisms in (("smtpd", "PLAIN LOGIN"), ("login", "LOGIN"), ("cram", "CRAM-MD5")):
            lines = ["pwcheck_method: auxprop", "auxprop_plugin: sasldb", f"sasldb_path: {database}"]
            lines.append(f"mech_list: {mechanisms}")
            sasl.joinpath(f"{name}.conf").write_text("\n".join(lines) + "\n")
        subprocess.run(  # noqa: S603 - our own arguments
            ["saslpasswd2", "-p", "-c", "-f", str(database), "-u", DOMAIN, USERNAME],  # noqa: S607
            input=PASSWORD.encode(),
            check=True,
        )
        shutil.chown(database, "postfix")

    def _until(self, condition: Callable[[], object]) -> None:
        until(condition, PATIENCE, story=lambda: self.log)

    def _map(self, name: str, rows: Mapping[str, str]) -> None:
        fresh = self.folder / "etc/next"
        fresh.write_text("".join(f"{key} {value}\n" for key, value in rows.items()))
        command = ["/usr/sbin/postmap", "-c", f"{self.folder}/etc", f"hash:{fresh}"]
        subprocess.run(command, check=True)  # noqa: S603 - our own arguments
        # A server process ends before its next client when the file it has open has lost its name.
        fresh.with_suffix(".db").replace(self.folder / f"etc/{name}.db")

    def _write(self, name: str, text: str) -> None:
        self.folder.joinpath("etc", name).write_text(text)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
