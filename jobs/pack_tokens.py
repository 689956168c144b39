"""Kept text to token shards. Usage: spark-submit jobs/pack_tokens.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.pack_tokens import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
