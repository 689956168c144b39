"""Raw text to training tokens on Spark: ingest, annotate, filter, deduplicate, tokenise, schedule.

Heavy imports (pyspark, numba, torch) stay out of this module, so that `import redpajama_pipe` costs nothing.
"""

__version__ = "0.1.0"
