"""Several processes behind one door: one that has the ledger, and those that serve."""
