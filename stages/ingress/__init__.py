"""The stage that receives the caller: opens sessions, claims workers, keeps the replay buffer."""
