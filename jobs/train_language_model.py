"""A language model of a run's documents. Usage: spark-submit jobs/train_language_model.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.train_language_model import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
