"""What people see of a run: one HTML file, the life of one document, tables for the terminal."""
