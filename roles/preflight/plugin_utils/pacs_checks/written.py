"""What is written as such: types, names, values of the example."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from pacs_checks.faults import Fault, Path_
from pacs_checks.variables import Variables

VAULT_CHARACTERS = 16
PLACEHOLDER = re.compile(r"REPLACE-WITH|CHANGE-ME|hospital\.example", re.IGNORECASE)
# Variables that no role declares: Ansible's own, secrets that roles take by the names of their own, the probes' zone.
NOT_OURS = re.compile(r"ansible_|vault_|probe_zone$")


def check_types(variables: Variables, options: dict[str, dict[str, Any]], written: set[str]) -> Iterator[Fault]:
    """Check each variable against what its role says of it."""
    for name, option in options.items():
        if name not in variables:
            if option.get("required"):
                where = "vault.yml (make one with ansible/secrets.yml)" if name.startswith("vault_") else "site.yml"
                yield Fault((name,), "it is missing", f"Write it into group_vars/pacs/{where}.")
            continue
        try:
            value = variables[name]
        except AnsibleError as error:
            yield Fault(
                (name,),
                f"it can't be filled in: {str(error).splitlines()[0]}",
                "Define what it refers to, or correct the name.",
            )
            continue
        if name.startswith("vault_") or option.get("no_log"):
            continue
        known = {
            key: option[key] for key in ("type", "choices", "elements", "options", "required_together") if key in option
        }
        result = ArgumentSpecValidator({name: known}).validate({name: value})
        for message in result.error_messages if name in written else ():
            yield Fault((name,), message, "Correct it; the role's defaults/main.yml says what it means.")


def check_names(options: dict[str, dict[str, Any]], written: set[str]) -> Iterator[Fault]:
    """Find variables that nothing reads: mostly typing mistakes, which leave a default where a choice was meant."""
    for name in sorted(written - set(options)):
        if NOT_OURS.match(name):
            continue
        near = difflib.get_close_matches(name, options, n=1)
        yield Fault(
            (name,), "nothing reads a variable of this name", f"Did you mean {near[0]}?" if near else "Take it out."
        )


def check_placeholders(variables: Variables, written: set[str]) -> Iterator[Fault]:
    """Find values that are still those of the example."""
    for name in sorted(written):
        for path, text in _texts(variables.get(name), (name,)):
            if PLACEHOLDER.search(text) and not name.startswith("vault_"):
                yield Fault(path, f"it still holds the example's value {text!r}", "Put your own in.")
            elif name.startswith("vault_") and (PLACEHOLDER.search(text) or len(text) < VAULT_CHARACTERS):
                yield Fault((name,), "the secret is the example's or short", "Make new ones with ansible/secrets.yml.")


def _texts(value: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
