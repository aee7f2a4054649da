"""Run migrations on the connection that `config_service/database.py` opened and locked; Alembic loads this file."""

from alembic import context

from config_service.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
