"""Store agents in a database and share them by JetStream KV. Other packages import `client.py` to reach agents."""
