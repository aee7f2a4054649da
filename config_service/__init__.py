"""Agents: the database is the truth, JetStream KV the shared cache, client.py the only door."""
