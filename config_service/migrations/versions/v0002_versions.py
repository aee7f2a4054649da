"""Versions of agents and campaigns, and phone numbers. An agent of the first form becomes its published version.

Downgrading keeps what calls run on: the published document of each agent. Drafts, older versions, campaigns and numbers
have no place in the first form and are lost.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

AUTHOR = "migration"
KEY = ("agent", "campaign")
CONFIG = ("configs.agent", "configs.campaign")


def upgrade() -> None:
    op.create_table(
        "configs",
        sa.Column("agent", sa.String(64), primary_key=True),
        sa.Column("campaign", sa.String(64), primary_key=True),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("published", sa.Integer, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("agent", sa.String(64), primary_key=True),
        sa.Column("campaign", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("saved", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(KEY, CONFIG),
    )
    op.create_table(
        "numbers",
        sa.Column("number", sa.String(16), primary_key=True),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("campaign", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(KEY, CONFIG),
    )
    op.create_index("numbers_config", "numbers", KEY)
    op.execute("INSERT INTO configs SELECT id, '', revision, revision, updated FROM agents")
    op.execute(f"INSERT INTO versions SELECT id, '', revision, document, '{AUTHOR}', updated FROM agents")  # noqa: S608
    op.drop_table("agents")


def downgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.execute(
        "INSERT INTO agents SELECT c.agent, v.document, c.published, c.updated FROM configs c JOIN versions v"
        " ON v.agent = c.agent AND v.campaign = c.campaign AND v.version = c.published WHERE c.campaign = ''"
    )
    for table in ("numbers", "versions", "configs"):
        op.drop_table(table)
