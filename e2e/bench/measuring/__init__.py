"""What every benchmark needs: an environment, processes held to a core, honest statistics, and one way to print.

Apart from the benchmarks so that their figures are made alike. It must never decide whether a figure is good: a benchmark
names its targets, prints which were missed, and exits 0.
"""
