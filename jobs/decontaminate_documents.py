"""Evaluation text to decisions. Usage: spark-submit jobs/decontaminate_documents.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.decontaminate_documents import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
