"""Documents in the layouts of published corpora."""

NAMES = ("redpajama_v1", "redpajama_v2", "jsonl")
