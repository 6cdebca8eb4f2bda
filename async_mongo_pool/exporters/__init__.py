"""Metrics for the outside: ``prometheus`` and ``opentelemetry``, each with the extra of its name.

Both read ``Pool.snapshot()`` when they are asked, and nothing else: a pool is not slower for being watched.
Nothing here is imported with the package; import the exporter you want.
"""
