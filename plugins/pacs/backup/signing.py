"""Signatures of reports and lists: Ed25519 (RFC 8032) by OpenSSL, which any machine can verify."""

from __future__ import annotations

from pathlib import Path

from pacs.backup import programs
from pacs.backup.errors import ProgramError

SIGNATURE = ".sig"
PUBLIC_KEY = "signing.pub"


def sign(path: Path, key: Path) -> Path:
    """Sign a file and return the signature's path; the public key is put beside it. A missing key is made.

    Verified by: openssl pkeyutl -verify -pubin -inkey signing.pub -rawin -in FILE -sigfile FILE.sig
    """
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        key.touch(mode=0o600)
        programs.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key])
    signature = path.with_name(path.name + SIGNATURE)
    programs.run(["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", path, "-out", signature])
    programs.run(["openssl", "pkey", "-in", key, "-pubout", "-out", path.with_name(PUBLIC_KEY)])
    return signature


def is_right(path: Path, public_key: Path) -> bool:
    """Tell whether a signature is of this file and this key."""
    signature = path.with_name(path.name + SIGNATURE)
    command: programs.Command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        public_key,
        "-rawin",
        "-in",
        path,
        "-sigfile",
        signature,
    ]
    try:
        return "Success" in programs.run(command)
    except ProgramError:
        return False
