"""The response cache: keys, storage, and one upstream call for identical calls in flight."""
