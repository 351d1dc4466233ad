"""What to try: one module per analysis, each planning configurations and nothing else."""
