"""The model of a session, pure: its state as a fold of events, history, latency, stale messages, caller audio."""
