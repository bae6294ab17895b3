"""OKX's protocol for linear perpetual swaps: requests, streams and the names of things."""
