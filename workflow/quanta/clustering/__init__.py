"""From affinity to eigenvectors to labels."""
