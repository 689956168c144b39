"""All stages of a recipe. Usage: spark-submit jobs/run_recipe.py RECIPE -o RUN."""

import sys

from redpajama_pipe.stages.run_recipe import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
