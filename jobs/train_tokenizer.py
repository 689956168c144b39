"""A tokenizer from kept text. Usage: spark-submit jobs/train_tokenizer.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.train_tokenizer import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
