"""Long, seeded campaigns: run as programs by `make chaos` and its like; a short part of each is a test."""
