"""Sources to documents. Usage: spark-submit jobs/ingest_documents.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.ingest_documents import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
