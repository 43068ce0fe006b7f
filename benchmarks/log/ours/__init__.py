"""The disk log, measured through the contract that the rest of Holdfast uses."""
