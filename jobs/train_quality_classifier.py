"""A quality classifier of a run's documents. Usage: spark-submit jobs/train_quality_classifier.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.train_quality_classifier import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
