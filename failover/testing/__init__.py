"""Scripted providers for tests."""
