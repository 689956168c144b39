"""Signals of stored documents. Usage: spark-submit jobs/annotate_documents.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.annotate_documents import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
