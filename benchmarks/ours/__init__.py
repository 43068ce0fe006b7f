"""Our own side: each module measures Holdfast as a program would use it, and prints outcomes (`benchmarks.job`)."""
