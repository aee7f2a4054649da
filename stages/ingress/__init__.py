"""The door and the coordinator: opens sessions, claims workers, keeps the ring."""
