"""One HTML page about a run. Usage: spark-submit jobs/write_report.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.write_report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
