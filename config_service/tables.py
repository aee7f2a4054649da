"""The tables of the database, as the newest migration leaves them.

An agent and each of its campaigns have one row in `configs`, and one row in `versions` for every save. A campaign is
stored as its agent's document is, under the same agent with its own id; the agent itself has the campaign "".
"""

from sqlalchemy import JSON, BigInteger, Column, ForeignKeyConstraint, Index, Integer, MetaData, String, Table

METADATA = MetaData()

CONFIGS = Table(
    "configs",
    METADATA,
    Column("agent", String(64), primary_key=True),
    Column("campaign", String(64), primary_key=True),
    Column("latest", Integer, nullable=False),  # the newest version
    Column("published", Integer, nullable=False),  # the version that calls run on; 0 if there are only drafts
    Column("updated", BigInteger, nullable=False),  # UTC microseconds, as in events
)

VERSIONS = Table(
    "versions",
    METADATA,
    Column("agent", String(64), primary_key=True),
    Column("campaign", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", JSON, nullable=False),
    Column("author", String(64), nullable=False),
    Column("saved", BigInteger, nullable=False),  # UTC microseconds
    ForeignKeyConstraint(["agent", "campaign"], ["configs.agent", "configs.campaign"]),
)

NUMBERS = Table(
    "numbers",
    METADATA,
    Column("number", String(16), primary_key=True),
    Column("agent", String(64), nullable=False),
    Column("campaign", String(64), nullable=False),
    ForeignKeyConstraint(["agent", "campaign"], ["configs.agent", "configs.campaign"]),
    Index("numbers_config", "agent", "campaign"),
)
