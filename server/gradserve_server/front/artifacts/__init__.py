"""Networks and weights by content address."""
