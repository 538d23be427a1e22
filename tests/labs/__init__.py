"""Real things for tests: certificates, and programs that are started and stopped."""
