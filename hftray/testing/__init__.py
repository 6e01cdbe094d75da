"""In-memory stand-ins, held to the same contract tests as the real ones, and test fixtures."""
