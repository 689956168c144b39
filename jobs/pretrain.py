"""Train on a run's shards. Usage: torchrun --nproc-per-node 8 jobs/pretrain.py RUN --model pythia_160m -o DIR."""

import sys

from redpajama_pipe.stages.pretrain import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
