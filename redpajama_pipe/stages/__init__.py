"""One module a job: `main(argv)` parses, `run(...)` works. jobs/ holds a spark-submit script for each."""
