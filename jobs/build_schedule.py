"""The order in which training reads. Usage: spark-submit jobs/build_schedule.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.build_schedule import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
