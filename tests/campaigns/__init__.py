"""Long, seeded campaigns: run as programs by `make chaos`; a short part of each is a test."""
