"""The playbook that makes the vault's secrets: what was encrypted is never written in clear."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
KEPT = "a-login-that-somebody-has-written"


@dataclass
class Vault:
    """A vault's file and the file of its password."""

    file: Path
    password: Path

    def run(self, *command: str | Path) -> str:
        """Run a program of Ansible; return what it said."""
        done = subprocess.run(
            command,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"ANSIBLE_NOCOLOR": "1", "COLUMNS": "1000"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def make(self, *arguments: str | Path) -> str:
        """Run the playbook; return what it said."""
        return self.run("ansible-playbook", "ansible/secrets.yml", "-e", f"secrets_file={self.file}", *arguments)

    def encrypt(self, name: str = "default") -> None:
        """Encrypt the file, as the documentation says."""
        words = ("ansible-vault", "encrypt", "--vault-id", f"{name}@{self.password}", "--encrypt-vault-id", name)
        self.run(*words, self.file)

    def secrets(self) -> dict[str, Any]:
        """Return what is in the file, encrypted or not."""
        text = self.file.read_text()
        if text.startswith("$ANSIBLE_VAULT"):
            text = self.run("ansible-vault", "view", "--vault-password-file", self.password, self.file)
        found: dict[str, Any] = yaml.safe_load(text)
        return found


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Make a vault that has one secret of somebody's and lacks all others."""
    pytest.importorskip("ansible", reason="ansible-core is not installed here")
    made = Vault(tmp_path / "vault.yml", tmp_path / "password")
    made.file.write_text(f"vault_backup_places: {{clinic: {{login: {KEPT}}}}}\n")
    made.password.write_text("the vault's own password\n")
    return made


@pytest.mark.parametrize("name", ["default", "hospital"])
def test_encrypted_secrets_stay_encrypted(vault: Vault, name: str) -> None:
    """With the same password, under the same name; what was there stays, the others are made, then made anew."""
    vault.encrypt(name)
    header = vault.file.read_text().splitlines()[0]
    password = ("--vault-id", f"{name}@{vault.password}")

    said = vault.make(*password)

    assert vault.file.read_text().splitlines()[0] == header
    assert vault.file.stat().st_mode & 0o777 == 0o600
    made = vault.secrets()
    assert made["vault_backup_places"] == {"clinic": {"login": KEPT}}
    assert len(made["vault_luks_passphrase"]) == 40
    assert "They are encrypted." in said
    assert made["vault_luks_passphrase"] not in said

    vault.make(*password, "-e", "secrets_rotate=vault_postgresql")

    assert vault.file.read_text().startswith("$ANSIBLE_VAULT")
    anew = {name for name, secret in vault.secrets().items() if secret != made[name]}
    assert anew == {name for name in made if name.startswith("vault_postgresql")} != set()
    assert sorted(path.name for path in vault.file.parent.iterdir()) == ["password", "vault.yml"]


def test_dry_run_and_run_with_nothing_to_make_leave_the_file(vault: Vault) -> None:
    """Neither writes anything."""
    before = vault.file.read_bytes()
    vault.make("--check")
    assert vault.file.read_bytes() == before
    vault.make()
    made = vault.file.read_bytes()
    assert "changed=0" in vault.make()
    assert vault.file.read_bytes() == made


def test_secrets_in_clear_are_told_loudly_or_encrypted_where_the_password_is_known(vault: Vault) -> None:
    """Who has encrypted nothing hears it; who names the password's file need not encrypt by hand, once or again."""
    said = vault.make()
    assert "THEY STAND IN CLEAR: ansible-vault encrypt " in said
    assert vault.file.stat().st_mode & 0o777 == 0o600
    told = ("-e", f"secrets_vault_password_file={vault.password}", "-e", "secrets_rotate=vault_postgresql")
    assert "They are encrypted." in vault.make(*told)
    assert vault.file.read_text().startswith("$ANSIBLE_VAULT")
    assert "They are encrypted." in vault.make(*told, "--vault-password-file", vault.password)
    assert vault.secrets()["vault_backup_places"] == {"clinic": {"login": KEPT}}
