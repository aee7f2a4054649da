"""Resolve what the calls of an agent, or of a campaign of it, run on, from the database and the environment."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from config_service import documents
from config_service.documents import BadDocument
from config_service.keys import ALONE, Key
from config_service.layers import Layers
from config_service.store import Store
from schemas.config import RuntimeConfig, StoredAgent

BUILT_IN = StoredAgent(documents.plain(documents.DEFAULT), 0)


class Found(NamedTuple):
    """The layers of one key, and their published versions."""

    layers: Layers
    revision: int
    campaign_revision: int


class Resolver:
    """Resolves keys. environment: the layer of `layers.read_environment`, equal in every instance of the service."""

    def __init__(self, store: Store, environment: Mapping[str, Any]) -> None:
        self._store = store
        self._environment = environment

    async def find(self, key: Key) -> Found | None:
        """Return the layers of a key; None if there is no such agent or campaign, or if it is not published."""
        published = await self._store.published(key.agent)
        agent = published.get(ALONE) or (BUILT_IN if key.agent == documents.DEFAULT_ID else None)
        campaign = published.get(key.campaign) if key.campaign else StoredAgent({}, 0)
        if agent is None or campaign is None:
            return None
        layers = Layers(self._environment, agent.document, campaign.document)
        return Found(layers, agent.revision, campaign.revision)

    async def resolve(self, key: Key) -> RuntimeConfig | None:
        """Return what calls run on. Raises BadDocument if the stored layers are not valid any more."""
        found = await self.find(key)
        if found is None:
            return None
        try:
            document = found.layers.resolved()
        except BadDocument as wrong:
            raise BadDocument(f"agent {key.agent} is stored but not valid: {wrong}: set it again") from None
        if document.id != key.agent:
            raise BadDocument(
                f"agent {key.agent} is stored but not valid: id: its document says {document.id}: set it again"
            )
        return RuntimeConfig(documents.plain(document), found.revision, found.campaign_revision)
