"""What ``holdfast demo`` runs, on the product's public surface alone: read it as an example of a program.

``survey`` is the task, ``plan`` says which files there are and which fail on purpose, ``run`` sends, works, waits and
replays, and ``checks`` compares what the store says afterwards with the plan.
"""
