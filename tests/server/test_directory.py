"""The hospital's directory says who somebody is and by its groups what he may do: as LDAP, and as Active Directory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from fixtures.directory_server import DISABLED, Directory, directory_server
from fixtures.hospital_network import Host
from fixtures.provisioned_server import PreparedServer
from fixtures.sessions import PAGE, Account, opens_no_session, send_form, sign_in
from fixtures.strangers_requests import answer

pytestmark = pytest.mark.soak

ROOT = "/etc/pacs/directory-ca.pem"
# Role: group. Whoever is in none of these has no role; the test's technician is in another group, too.
GROUPS = {
    "admin": "pacs-admins",
    "radiologist": "radiologists",
    "technician": "technicians",
    "referring": "Médicos derivantes",
}
# What each may open of: the studies, uploading, the HL7 journal.
MAY_OPEN = {
    "ana.nunez": [200, 403, 403],
    "tomas": [200, 200, 403],
    "remigio": [200, 403, 403],
    "nadie": [403, 403, 403],
}
# The other roles' variables are what they were when the server was made.
ONLY_THESE = ("-e", '{"preflight_roles": ["nftables", "sign_in"]}')
PAGES = ["/pacs/studies", "/pacs/upload", "/pacs/hl7"]

type Asked = Callable[[bool], Directory]


@pytest.fixture(scope="module")
def asked(server: PreparedServer, people: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Return what has the sign-in ask the directory, as Active Directory or not; afterwards accounts are local."""
    with directory_server(people["directory"], tmp_path_factory.mktemp("directory")) as directory:
        server.machine.run(f"cat > {ROOT}", stdin=directory.root.read_text())
        state: dict[str, bool] = {}

        def ask(active_directory: bool) -> Directory:  # noqa: FBT001
            if state.get("active_directory") != active_directory:
                _carry(server, directory, active_directory=active_directory)
                state["active_directory"] = active_directory
            return directory

        yield ask
        (server.project / "host_vars" / f"{server.domain}.yml").unlink()
        done = server.playbook("site.yml", "--tags", "nftables,sign_in", *ONLY_THESE)
        server.ask(f"rm {ROOT}")
        assert done.returncode == 0, done.stdout[-5000:]


def _carry(server: PreparedServer, directory: Directory, *, active_directory: bool) -> None:
    lines = [
        "sign_in_accounts: ldap",
        f"sign_in_ldap_server: {directory.url}",
        f"sign_in_ldap_active_directory: {str(active_directory).lower()}",
        "sign_in_ldap_base: ou=people,dc=chilecito,dc=test",
        f"sign_in_ldap_bind_dn: {directory.searcher}",
        f"vault_sign_in_ldap_password: {directory.searchers_password}",
        f"sign_in_ldap_ca_file: {ROOT}",
        f"pacs_ldap_servers: [{directory.url.split('/')[2].partition(':')[0]}]",
        "sign_in_ldap_groups:",
        *(f"  {role}: {directory.group(group)}" for role, group in GROUPS.items()),
    ]
    folder = server.project / "host_vars"
    folder.mkdir(exist_ok=True)
    (folder / f"{server.domain}.yml").write_text("\n".join(lines) + "\n")
    done = server.playbook("site.yml", "--tags", "nftables,sign_in", *ONLY_THESE)
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.parametrize("active_directory", [False, True])
def test_groups_decide_what_somebody_may_do(
    server: PreparedServer,
    people: dict[str, Host],
    asked: Asked,
    active_directory: bool,  # noqa: FBT001
) -> None:
    """Each signs in with the hospital's own password and gets the role of his group, and no more."""
    host, directory = people["stranger"], asked(active_directory)
    opened = {}
    for login in MAY_OPEN:
        session = sign_in(host, server, Account(login, directory.passwords[login]))
        opened[login] = [
            answer(host, server.lan_address, server.domain, path, headers=PAGE | session)["status"] for path in PAGES
        ]
    assert opened == MAY_OPEN


@pytest.mark.parametrize("active_directory", [False, True])
def test_wrong_passwords_of_the_directory_are_refused_and_told(
    server: PreparedServer,
    people: dict[str, Host],
    asked: Asked,
    active_directory: bool,  # noqa: FBT001
) -> None:
    """Neither a wrong password nor an empty one, which a directory takes for "nobody", opens a session."""
    host = people["stranger"]
    asked(active_directory)
    # Two mistakes of each: a third would make the account wait.
    login = "tomas" if active_directory else "nadie"
    for password in ("wrong", " "):
        assert opens_no_session(send_form(host, server, Account(login, password)))
    told = f"PACS-LOGIN-FAILED rhost={re.escape(host.address)} user={login}"
    found = f"journalctl --quiet --since=-5min -t LLNG --grep='{told}'"
    server.ask(f"for i in $(seq 40); do {found} && exit 0; sleep 1; done; exit 1", 90)


@pytest.mark.parametrize("login", ["*", "ana.nunez)(uid=*", "(|(uid=*", "ana*"])
def test_filter_takes_no_orders_from_a_form(
    server: PreparedServer, people: dict[str, Host], asked: Asked, login: str
) -> None:
    """What somebody types as a name is a name for the directory, never a part of its filter."""
    directory = asked(True)  # noqa: FBT003
    assert opens_no_session(send_form(people["stranger"], server, Account(login, directory.passwords["ana.nunez"])))


def test_account_that_the_directory_has_disabled_is_out(
    server: PreparedServer, people: dict[str, Host], asked: Asked
) -> None:
    """In Active Directory a disabled account keeps its password and its groups: it opens nothing."""
    directory = asked(True)  # noqa: FBT003
    assert opens_no_session(send_form(people["stranger"], server, Account(DISABLED, directory.passwords[DISABLED])))


def test_directorys_administrators_show_a_second_factor(
    server: PreparedServer, people: dict[str, Host], asked: Asked
) -> None:
    """Whoever the directory calls an administrator registers a second factor before the first session."""
    directory = asked(True)  # noqa: FBT003
    host = people["stranger"]
    told = send_form(host, server, Account("jefa", directory.passwords["jefa"]))
    assert told["headers"]["location"].startswith(f"https://{server.signin_domain}/2fregisters")


def test_directory_with_another_certificate_is_not_believed(
    server: PreparedServer, people: dict[str, Host], asked: Asked
) -> None:
    """Somebody who poses as the directory in the hospital's network collects no password."""
    directory = asked(True)  # noqa: FBT003
    host, somebody = people["stranger"], Account("remigio", directory.passwords["remigio"])
    code = f"curl -ks -o /dev/null -w %{{http_code}} --resolve {server.signin_domain}:443:{server.lan_address}"
    ready = f"until [ $({code} https://{server.signin_domain}/) != 503 ]; do sleep 0.3; done"
    restart = f"systemctl restart pacs-sign-in-portal && {ready}"
    server.ask(f"cp {ROOT} {ROOT}.kept && cp /etc/pacs/tls/client-ca.pem {ROOT} && {restart}")
    try:
        assert opens_no_session(send_form(host, server, somebody))
    finally:
        server.ask(f"mv {ROOT}.kept {ROOT} && {restart}")
    sign_in(host, server, somebody)
