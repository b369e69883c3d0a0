"""npm packages as files: which ones, where they come from, that they are the ones meant, and what is in them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

NPM_TIMEOUT_SECONDS = 300


class BuildError(Exception):
    """The viewers can't be built. The message is one line: what was expected, what was found, what to do."""


@dataclass(frozen=True)
class Package:
    """One npm package.

    Attributes
    ----------
    integrity : hash of the tarball in the notation of Subresource Integrity ("sha512-" and base64).
    machine : processor that it is for, as `uname -m` says it; None for all.
    """

    name: str
    version: str
    integrity: str
    machine: str | None = None

    @property
    def file_name(self) -> str:
        """The name that `npm pack` gives the tarball."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def load_packages(path: Path) -> dict[str, Package]:
    """Return the packages that this machine needs, by name."""
    packages = [Package(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    return {package.name: package for package in packages if package.machine in (None, platform.machine())}


def obtain(package: Package, directory: Path) -> Path:
    """Return the tarball of `package` in `directory`, fetched when it is not there, and proven to be the one meant.

    Raises
    ------
    BuildError : it can't be fetched, or its content is not what packages.json says.
    """
    tarball = directory / package.file_name
    if not tarball.exists():
        _fetch(package, directory)
    _check_integrity(package, tarball)
    return tarball


def _fetch(package: Package, directory: Path) -> None:
    """Let npm download the tarball; npm knows where from, and asks through this machine's proxy and certificates."""
    npm = shutil.which("npm")
    if npm is None:
        raise BuildError(f"{package.file_name} is not in {directory}, and npm, to fetch it, is not on the PATH.")
    directory.mkdir(parents=True, exist_ok=True)
    specification = f"{package.name}@{package.version}"
    with TemporaryDirectory() as cache:
        environment = {**os.environ, "npm_config_cache": cache, "npm_config_update_notifier": "false"}
        command = [npm, "pack", specification, "--silent", "--ignore-scripts", "--pack-destination", str(directory)]
        try:
            result = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=NPM_TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"npm could not fetch {specification} within {NPM_TIMEOUT_SECONDS} s.") from None
    if result.returncode != 0 or not (directory / package.file_name).exists():
        words = (result.stderr.strip() or result.stdout.strip() or "no word of npm").splitlines()[-1]
        raise BuildError(f"npm could not fetch {specification}: {words}")


def _check_integrity(package: Package, tarball: Path) -> None:
    """Refuse a tarball whose bytes are not those that were reviewed when its version was written down."""
    algorithm, _, expected = package.integrity.partition("-")
    with tarball.open("rb") as content:
        digest = hashlib.file_digest(content, algorithm).digest()
    found = base64.b64encode(digest).decode()
    if not hmac.compare_digest(found, expected):
        raise BuildError(
            f"{tarball} is not {package.name} {package.version}: expected {package.integrity},"
            f" found {algorithm}-{found}. Delete it and try again; if that does not help, somebody changed the package."
        )


def unpack(tarball: Path, directory: Path, wanted: Callable[[str], bool]) -> None:
    """Unpack the members that `wanted` says yes to; it is given their names without npm's leading "package/"."""

    def choose(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
        name = member.name.partition("/")[2]
        if not (member.isfile() and wanted(name)):
            return None
        return tarfile.data_filter(member.replace(name=name, deep=False), destination)

    with tarfile.open(tarball) as archive:
        archive.extractall(directory, filter=choose)  # noqa: S202 - `choose` ends in tarfile's own data_filter
