"""How it travels: the sole importer of nats. Core NATS carries what is live; JetStream keeps what is remembered."""
