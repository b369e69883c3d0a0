"""The study index and the change feed."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, UtcDateTime

revision = "0002_studies"
down_revision = "0001_work_items"
branch_labels = None
depends_on = None

TEXTS_BEFORE_DATE = ("patient_name", "patient_id", "issuer_of_patient_id")
TEXTS_OF_STUDY = ("description", "referring_physician", "institution", "station_name", "remote_aet")
SEARCHED = (
    "newest_first_key",
    "id",
    "name_key",
    "identifiers_key",
    "description_key",
    "modalities_key",
    "patient_id_key",
    "accession_number_key",
)
KEYS = (
    "name_key",
    "identifiers_key",
    "description_key",
    "patient_id_key",
    "accession_number_key",
    "modalities_key",
    "body_parts_key",
)


def upgrade() -> None:
    """Create the tables of `pacs.studies`."""
    _create_studies()
    op.create_table(
        "change_cursors",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("last_resource_id", sa.String(64), nullable=False),
        sa.Column("last_change_at", UtcDateTime, nullable=False),
        sa.Column("skip_before", UtcDateTime),
        sa.Column("holder", sa.String(255)),
        sa.Column("held_until", UtcDateTime),
        sa.PrimaryKeyConstraint("name", name="pk_change_cursors"),
    )
    op.create_table(
        "unsettled_resources",
        sa.Column("orthanc_id", sa.String(44), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("orthanc_study_id", sa.String(44), nullable=False),
        sa.Column("touched_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("orthanc_id", name="pk_unsettled_resources"),
    )
    op.create_index("ix_unsettled_resources_orthanc_study_id", "unsettled_resources", ["orthanc_study_id"])
    op.create_index("ix_unsettled_resources_touched_at", "unsettled_resources", ["touched_at"])


def _create_studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("orthanc_study_id", sa.String(44), nullable=False),
        sa.Column("study_instance_uid", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS_BEFORE_DATE),
        sa.Column("patient_birth_date", sa.Date),
        sa.Column("patient_sex", sa.Text, nullable=False),
        sa.Column("accession_number", sa.Text, nullable=False),
        sa.Column("study_date", sa.Date),
        sa.Column("study_time", sa.Time),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS_OF_STUDY),
        sa.Column("series_count", sa.Integer, nullable=False),
        sa.Column("instance_count", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("last_update_at", UtcDateTime, nullable=False),
        sa.Column("is_stable", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in KEYS),
        sa.Column("newest_first_key", sa.String(14), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("orthanc_study_id", name="uq_studies_orthanc_study_id"),
    )
    op.create_index("ix_studies_study_instance_uid", "studies", ["study_instance_uid"])
    op.create_index("ix_studies_patient_id_key", "studies", ["patient_id_key"])
    op.create_index("ix_studies_accession_number_key", "studies", ["accession_number_key"])
    op.create_index("ix_studies_search", "studies", list(SEARCHED))


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("unsettled_resources")
    op.drop_table("change_cursors")
    op.drop_table("studies")
