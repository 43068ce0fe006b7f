"""The pytest plugin: fixtures for testing programs that use Holdfast."""
