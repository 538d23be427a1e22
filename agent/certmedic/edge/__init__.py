"""Effects: thin, each behind a small Protocol, each with a deadline. Rooms here do not know each other."""
