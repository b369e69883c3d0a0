"""Orthanc's PostgreSQL plugin gets the same answers in fewer questions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.postgresql import PostgresqlCluster

pytest_plugins = ("fixtures.postgresql",)

PLUGINS = Path(__file__).parents[2] / "plugins"
LIBRARY = Path("/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so")
# Calls libpq through the plugin's own pointers, as the plugin does, and prints what is answered.
AS_THE_PLUGIN = """
import ctypes, sys
from pacs.native.index_trips import ask_the_index_less_often
from pacs.native.linkage import loaded
ctypes.CDLL(sys.argv[1])
assert ask_the_index_less_often(is_alone=sys.argv[3] == "alone")
pq = ctypes.CDLL("libpq.so.5")
P, I, S = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
pq.PQconnectdb.restype = P
pq.PQgetvalue.restype, pq.PQgetvalue.argtypes = S, [P, I, I]
pq.PQresultStatus.argtypes = [P]
def through(name, *kinds):
    (slot,) = loaded("libOrthancPostgreSQLIndex.so").references(name)
    return ctypes.CFUNCTYPE(*kinds)(P.from_address(slot).value)
execute, finish = through("PQexec", P, P, S), through("PQfinish", None, P)
prepare = through("PQprepare", P, P, S, S, I, P)
execute_prepared = through("PQexecPrepared", P, P, S, I, P, P, P, I)
connection = pq.PQconnectdb(sys.argv[2].encode())
def run(sql): return pq.PQresultStatus(execute(connection, sql))
def begin(kind=b"WRITE"): return run(b"BEGIN"), run(b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE READ " + kind)
def value(text):
    values, formats = (S * 1)(text), (I * 1)(0)
    result = execute_prepared(connection, b"one", 1, ctypes.addressof(values), None, ctypes.addressof(formats), 0)
    return pq.PQresultStatus(result), pq.PQgetvalue(result, 0, 0) if pq.PQresultStatus(result) == 2 else None
types = (ctypes.c_uint * 1)(25)
print(run(b"CREATE TABLE t (a text PRIMARY KEY)"))
print(begin(), pq.PQresultStatus(prepare(connection, b"one", b"INSERT INTO t VALUES ($1) RETURNING a", 1, types)))
print(value(b"x"), value(b"y"), value(b"z"), run(b"COMMIT"))
print(run(b'DEALLOCATE "one"'), value(b"w")[0])
print(begin(), pq.PQresultStatus(prepare(connection, b"one", b"INSERT INTO t VALUES ($1) RETURNING a", 1, types)))
print(value(b"x")[0], run(b"SELECT 1"), run(b"ROLLBACK"), run(b'DEALLOCATE "one"'))
print(begin(b"ONLY"), run(b"INSERT INTO t VALUES ('no')"), run(b"ROLLBACK"))
print(run(b"BEGIN"), run(b"INSERT INTO t VALUES ('rolled back')"), run(b"ROLLBACK"))
counted = execute(connection, b"SELECT string_agg(a, ' ' ORDER BY a) FROM t")
print(pq.PQgetvalue(counted, 0, 0).decode())
finish(connection)
"""
OK, ROWS, FAILED = 1, 2, 7


@pytest.mark.skipif(not LIBRARY.exists(), reason="Orthanc's PostgreSQL plugin is not installed")
@pytest.mark.parametrize("kind", ["alone", "among others"])
def test_answers_are_the_same_in_fewer_questions(postgresql: PostgresqlCluster, kind: str) -> None:
    """Transactions, statements that are used once or often, faults and rollbacks end as without us."""
    url = postgresql.create_database().replace("+psycopg", "")
    done = subprocess.run(
        [sys.executable, "-c", AS_THE_PLUGIN, LIBRARY, url, kind],
        env={"PYTHONPATH": str(PLUGINS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        f"{OK}",
        f"({OK}, {OK}) {OK}",
        f"({ROWS}, b'x') ({ROWS}, b'y') ({ROWS}, b'z') {OK}",
        f"{OK} {FAILED}",
        f"({OK}, {OK}) {OK}",
        f"{FAILED} {FAILED} {OK} {OK}",
        f"({OK}, {OK}) {FAILED} {OK}",
        f"{OK} {OK} {OK}",
        "x y z",
    ], done.stderr
