"""Duplicates to decisions. Usage: spark-submit jobs/dedup_documents.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.dedup_documents import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
