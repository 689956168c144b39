"""Rule sets: filters/*.yaml to Spark columns. Rules are data; adding one needs no Python."""
