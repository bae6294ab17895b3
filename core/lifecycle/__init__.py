"""From the start to ACTIVE, and the stop: what is asked before trading, what is waited for, what is said at the end."""
