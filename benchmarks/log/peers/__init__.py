"""What else a Python program can append to, each through its documented interface."""
