"""One conformance suite for each kind of provider: every rule of the contract as a test that an adapter passes."""
