"""Transport between processes: the sole importer of nats. Core NATS carries the live planes, JetStream the journal."""
