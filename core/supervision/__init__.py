"""What runs as long as the daemon: who owns the tasks, what follows when one fails, whether the loop turns."""
