"""The kit that tests and benchmarks share: a platform in the test's loop or in processes, callers, and stand-ins.

`docs/testing.md` shows how to test an agent with the kit. Each module is imported by itself: rooms need the extra
`livekit`, fixtures need the extra `testing`.
"""
