"""How the running daemon is asked and told from this host: the control socket (and, later, the status page)."""
