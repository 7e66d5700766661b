"""The journal of a study: rows and their verbs, in memory or in a SQLite file."""
