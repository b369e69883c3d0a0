"""The VPN's certificate authority, in a directory of its own, by the openssl command.

usage: vpn_authority.py DIRECTORY init ORGANIZATION DAYS     makes the key and the certificate
       vpn_authority.py DIRECTORY server NAME DAYS           request after the passphrase, certificate on stdout
       vpn_authority.py DIRECTORY client NAME DAYS           private key and certificate on stdout, kept nowhere
       vpn_authority.py DIRECTORY revoke NAME                says "revoked already" of one that is
       vpn_authority.py DIRECTORY crl DAYS                   list of what was revoked, on stdout
       vpn_authority.py DIRECTORY list                       JSON on stdout

The first line of stdin is the passphrase of the authority's key, empty where that is not encrypted; list asks for none.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

PASSPHRASE = "PACS_VPN_CA_PASSPHRASE"  # noqa: S105, the name of a variable
KEY = ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
CONFIGURATION = """\
[ca]
default_ca = vpn
[vpn]
database = index.txt
new_certs_dir = issued
certificate = ca.crt
private_key = ca.key
rand_serial = yes
crlnumber = crlnumber
default_md = sha256
unique_subject = no
policy = names
copy_extensions = none
crl_extensions = crl
[names]
organizationName = supplied
organizationalUnitName = supplied
commonName = supplied
[req]
distinguished_name = asked
[asked]
[crl]
authorityKeyIdentifier = keyid
[authority]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class AuthorityError(Exception):
    """What was asked can't be done; the message says why and what to do."""


def openssl(*arguments: str, stdin: str = "") -> str:
    """Run openssl in the authority's directory and return its output."""
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AuthorityError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def passphrase(option: str) -> list[str]:
    """Return the option that gives openssl the authority's passphrase, where there is one."""
    return [option, f"env:{PASSPHRASE}"] if os.environ.get(PASSPHRASE) else []


def authority(*arguments: str, stdin: str = "") -> str:
    """Run `openssl ca` with the authority's key."""
    return openssl("ca", "-config", "openssl.cnf", "-batch", "-notext", *passphrase("-passin"), *arguments, stdin=stdin)


def issued() -> Iterator[dict[str, str | int]]:
    """Tell all certificates ever issued, from openssl's index: state, expiry, revocation, serial, file, subject."""
    for line in Path("index.txt").read_text().splitlines():
        state, expiry, _, serial, _, subject = line.split("\t")
        expires = datetime.strptime(expiry, "%y%m%d%H%M%SZ").replace(tzinfo=UTC)
        days_left = (expires - datetime.now(UTC)).days
        names = dict(part.split("=", 1) for part in subject.strip("/").split("/"))
        yield {
            "name": names["CN"],
            "kind": names["OU"],
            "state": "revoked" if state == "R" else "expired" if days_left < 0 else "valid",
            "expires": expires.date().isoformat(),
            "days_left": days_left,
            "serial": serial,
        }


def valid_serials(name: str, kind: str) -> list[str]:
    """Return the serials of a name's certificates that open the door today."""
    return [str(one["serial"]) for one in issued() if (one["name"], one["kind"], one["state"]) == (name, kind, "valid")]


def init(organization: str, days: str) -> str:
    """Make the authority; leave one that is there alone."""
    if Path("ca.crt").exists():
        return ""
    Path("openssl.cnf").write_text(CONFIGURATION)
    Path("issued").mkdir(exist_ok=True)
    Path("index.txt").touch()
    Path("crlnumber").write_text("01\n")
    encrypt = ["-aes-256-cbc", *passphrase("-pass")] if os.environ.get(PASSPHRASE) else []
    openssl(*KEY, *encrypt, "-out", "ca.key")
    subject = f"/O={organization.replace('/', ' ')}/OU=authority/CN=VPN authority"
    openssl(
        *("req", "-new", "-x509", "-config", "openssl.cnf", "-extensions", "authority", "-sha256", "-days", days),
        *("-key", "ca.key", *passphrase("-passin"), "-subj", subject, "-out", "ca.crt.partial"),
    )
    Path("ca.crt.partial").rename("ca.crt")
    return "made\n"


def sign(kind: str, name: str, days: str, request: str) -> str:
    """Return the certificate for a request, under a name of our choice."""
    if not NAME.fullmatch(name):
        raise AuthorityError(f"'{name}' is no name for a certificate: letters, digits, and . _ - inside, at most 63.")
    organization = openssl("x509", "-in", "ca.crt", "-noout", "-subject", "-nameopt", "sep_multiline,utf8")
    owner = re.search(r"O=(.*)", organization)
    subject = f"/O={owner[1] if owner else 'PACS'}/OU={kind}/CN={name}"
    return authority(
        *("-extensions", kind, "-days", days, "-subj", subject, "-utf8", "-in", "/dev/stdin", "-out", "/dev/stdout"),
        stdin=request,
    )


def server(name: str, days: str) -> str:
    """Return a server's certificate for the request on the rest of stdin."""
    return sign("server", name, days, sys.stdin.read())


def client(name: str, days: str) -> str:
    """Return a new private key and its certificate; the key is written nowhere."""
    if valid_serials(name, "client"):
        raise AuthorityError(f"'{name}' has a valid certificate: revoke it first, or choose another name.")
    key = openssl(*KEY)
    request = openssl("req", "-new", "-config", "openssl.cnf", "-key", "/dev/stdin", "-subj", "/CN=asked", stdin=key)
    return key + sign("client", name, days, request)


def revoke(name: str) -> str:
    """Revoke all valid certificates of a name."""
    serials = valid_serials(name, "client")
    if not serials and any((one["name"], one["kind"], one["state"]) == (name, "client", "revoked") for one in issued()):
        return "revoked already\n"
    if not serials:
        known = ", ".join(sorted({str(one["name"]) for one in issued() if one["state"] == "valid"}))
        raise AuthorityError(f"'{name}' has no valid certificate. Valid are: {known or 'none'}.")
    for serial in serials:
        authority("-revoke", f"issued/{serial}.pem", "-crl_reason", "cessationOfOperation")
    return f"{len(serials)} revoked\n"


def crl(days: str) -> str:
    """Return a new list of what was revoked."""
    return authority("-gencrl", "-crldays", days, "-out", "/dev/stdout")


def list_issued() -> str:
    """Return all certificates as JSON."""
    return json.dumps(list(issued()), indent=1) + "\n"


ACTIONS: dict[str, Callable[..., str]] = {
    "init": init,
    "server": server,
    "client": client,
    "revoke": revoke,
    "crl": crl,
    "list": list_issued,
}


def main(directory: str, action: str, *arguments: str) -> int:
    """Do one action, alone in the directory."""
    os.umask(0o077)
    Path(directory).mkdir(parents=True, exist_ok=True)
    os.chdir(directory)
    with Path(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if action != "list":
                # openssl takes it from there: its command could be seen by everybody.
                os.environ[PASSPHRASE] = sys.stdin.readline().rstrip("\n")
            sys.stdout.write(ACTIONS[action](*arguments))
        except AuthorityError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    if not set(sys.argv[2:3]) & set(ACTIONS):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
