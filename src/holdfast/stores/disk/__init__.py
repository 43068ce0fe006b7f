"""The disk store: a directory of logs, and of queues whose journals are logs of the same format."""
