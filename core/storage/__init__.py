"""What survives the process: the SQLite journal (the truth) and the hash-chained audit log (the proof)."""
