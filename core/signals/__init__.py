"""Where signals come from. Each source hands over batches that are already parsed, bounded and collected into waves."""
