"""Analysis of a run's codes: clusters, embeddings and transfers."""
