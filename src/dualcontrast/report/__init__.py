"""The report: one HTML page of a run, that opens anywhere and asks nothing of the network."""
