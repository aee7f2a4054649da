"""What a call is, pure: the fold of its events, what was heard, what is stale, the ring of caller audio. No IO."""
