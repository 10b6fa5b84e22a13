"""aionctl, which is also the kubectl plugin `kubectl aion`.

Nobody imports this package.
"""
