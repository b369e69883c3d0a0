"""Alembic's environment: runs the migrations on the connection that `pacs.database.schema` hands over."""  # noqa: INP001 (Alembic runs it as a script)

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from pacs.database.models import metadata
from pacs.errors import DatabaseError


def run() -> None:
    """Run the migrations inside the transaction that is open already."""
    connection = context.config.attributes.get("connection")
    if not isinstance(connection, Connection):
        raise DatabaseError("Migrations need a connection.", remedy="Run them with: python -m pacs.database upgrade.")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
        # SQLite can't alter a column: batch mode rebuilds the table.
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
