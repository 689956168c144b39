"""A run's documents as JSON lines in a published layout. Usage: spark-submit jobs/export_documents.py RUN FOLDER."""

import sys

from redpajama_pipe.stages.export_documents import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
