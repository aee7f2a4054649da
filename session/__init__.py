"""What a call is, pure: the fold of its facts, what was heard, what is stale, the ring of caller audio. No IO."""
