"""Stored rules that send a message at times: ``cron`` reads and computes the rules."""
