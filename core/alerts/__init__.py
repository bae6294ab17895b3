"""What people are told: kept in the journal, grouped, and delivered in order by each channel."""
