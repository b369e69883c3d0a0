"""How fast the Studies page finds: `PYTHONPATH=plugins:tests python tests/benchmarks/bench_study_search.py`.

A page of 50 with its count, over rows of fictitious patients whose names are as common as names are. Prints the
median of the wall clock and of this process's own processor time, which does not suffer when the machine is busy
(PostgreSQL works in processes of its own: only its wall clock tells).
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, text

from fixtures.postgresql import postgresql_cluster
from pacs.database import Database
from pacs.studies import StudyQuery, search
from pacs.studies.models import StudyRecord
from pacs.studies.records import RowValues, row_values

RUNS = 7
BATCH = 5000
SYLLABLES = [
    "ma",
    "ri",
    "jo",
    "sé",
    "ca",
    "lo",
    "mu",
    "ño",
    "za",
    "pé",
    "re",
    "gó",
    "me",
    "ro",
    "dri",
    "gue",
    "lez",
    "san",
    "cha",
    "fer",
    "nán",
    "dez",
    "al",
    "va",
    "tor",
    "les",
    "si",
    "be",
    "pa",
    "qui",
    "ni",
    "ra",
]
MODALITIES = ("CR", "CT", "DX", "MG", "MR", "US", "XA", "ES")
BODY_PARTS = ("Tórax", "Abdomen", "Cráneo", "Columna lumbar", "Rodilla derecha", "Pelvis", "Mama", "Hombro")
FIRST_DAY = date(2012, 1, 1)
DAYS = 5000


def main() -> None:
    """Measure the databases and sizes named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000])
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    options = parser.parse_args()
    for rows in options.rows:
        for kind in options.kinds:
            with _database(kind) as database:
                names = _fill(database, rows)
                for label, query in _queries(names, rows).items():
                    print(f"{kind:10} {rows:>9,} rows  {label:34} {_timed(database, query)}", flush=True)


def _timed(database: Database, query: StudyQuery) -> str:
    walls, processors, found = [], [], 0
    for _ in range(RUNS):
        wall, processor = time.perf_counter(), time.process_time()
        with database.session() as session:
            found = search(session, query).total
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    wall_ms, processor_ms = (1000 * statistics.median(each) for each in (walls, processors))
    return f"{wall_ms:7.1f} ms wall  {processor_ms:7.1f} ms processor  {found:>7,} found"


def _queries(names: Names, rows: int) -> dict[str, StudyQuery]:
    common, rare = names.families[0], names.families[len(names.families) // 3]
    return {
        "newest": StudyQuery(),
        "deep page": StudyQuery(offset=rows // 2),
        "one letter": StudyQuery(text="m"),
        "common name": StudyQuery(patient_name=common),
        "common family and given name": StudyQuery(text=f"{names.givens[0]} {common[:3]}"),
        "rare name": StudyQuery(text=rare),
        "nobody": StudyQuery(text="zzzz"),
        "patient ID": StudyQuery(patient_id="P77"),
        "patient ID with wildcard": StudyQuery(patient_id="*777*"),
        "accession number": StudyQuery(accession_number="A500"),
        "description": StudyQuery(description="torax"),
        "description, nothing": StudyQuery(description="higado"),
        "one month of CT": StudyQuery(date_from=date(2020, 1, 1), date_to=date(2020, 1, 31), modalities=("CT",)),
        "XA or ES": StudyQuery(modalities=("XA", "ES")),
        "rare name, MR": StudyQuery(patient_name=rare, modalities=("MR",)),
    }


class Names:
    """Names whose frequencies fall off as those of real names do."""

    def __init__(self) -> None:
        self._random = random.Random(20260310)
        self.families = [self._word(2, 4) for _ in range(4000)]
        self.givens = [self._word(2, 3) for _ in range(800)]

    def _word(self, fewest: int, most: int) -> str:
        return "".join(self._random.choice(SYLLABLES) for _ in range(self._random.randint(fewest, most)))

    def _one(self, choices: list[str]) -> str:
        return choices[int(self._random.paretovariate(0.7) - 1) % len(choices)].upper()

    def person(self) -> str:
        """Return a PN value: two family names, two given names."""
        families, givens = self.families, self.givens
        return f"{self._one(families)} {self._one(families)}^{self._one(givens)} {self._one(givens)}"


def _fill(database: Database, rows: int) -> Names:
    names, generator = Names(), random.Random(1)
    for start in range(0, rows, BATCH):
        with database.session(write=True) as session:
            session.execute(
                insert(StudyRecord), [_row(names, generator, n) for n in range(start, min(start + BATCH, rows))]
            )
    # What PostgreSQL's autovacuum does by itself within minutes.
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE"))
    return names


def _row(names: Names, generator: random.Random, number: int) -> RowValues:
    day = FIRST_DAY + timedelta(days=generator.randrange(DAYS))
    study = {
        "ID": f"{number:044x}",
        "MainDicomTags": {
            "StudyInstanceUID": f"1.2.826.0.1.3680043.8.498.{number}",
            "StudyDate": f"{day:%Y%m%d}",
            "StudyTime": f"{generator.randrange(24):02}{generator.randrange(60):02}00",
            "AccessionNumber": f"A{number}",
            "StudyDescription": f"{generator.choice(BODY_PARTS)} de control {generator.randrange(40)}",
            "InstitutionName": "Hospital ficticio",
            "ReferringPhysicianName": names.person(),
        },
        "PatientMainDicomTags": {
            "PatientName": names.person(),
            "PatientID": f"P{generator.randrange(10**7)}",
            "PatientSex": "F",
        },
        "LastUpdate": "20260310T101500",
    }
    series = [{"MainDicomTags": {"Modality": generator.choice(MODALITIES)}} for _ in range(2)]
    return row_values(study, series) | {"received_at": datetime(2026, 3, 10, tzinfo=UTC), "size_bytes": 10**8}


@contextmanager
def _database(kind: str) -> Iterator[Database]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield from _migrated(f"sqlite:///{Path(folder) / 'pacs.db'}")
    else:
        with postgresql_cluster() as cluster:
            yield from _migrated(cluster.create_database())


def _migrated(url: str) -> Iterator[Database]:
    with Database(url) as database:
        database.migrate()
        yield database


if __name__ == "__main__":
    main()
