"""What a reader sees: figures, page, the paper's numbers beside the run's."""
