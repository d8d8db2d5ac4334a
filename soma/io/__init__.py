"""Read and write files: safely, and never half."""
