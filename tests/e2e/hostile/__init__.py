"""Networks that no honest exporter writes, each with the answer that it must get."""
