"""Bags of words of a run's documents. Usage: spark-submit jobs/train_importance_bags.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.train_importance_bags import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
