"""One suite per kind of provider: every rule of the contract as a test that an adapter inherits."""
