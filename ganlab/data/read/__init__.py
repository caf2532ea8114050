"""Reading datasets: location, transfer, cache, order, batches."""
