"""What holds of the server's roles among each other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

ROLES = Path(__file__).parents[2] / "roles"


def test_no_two_roles_share_a_handlers_name() -> None:
    """Of two handlers with one name Ansible runs the last that it read, whichever role asked."""
    names = Counter(
        handler["name"] for path in ROLES.glob("*/handlers/main.yml") for handler in yaml.safe_load(path.read_text())
    )
    assert [name for name, times in names.items() if times > 1] == []
