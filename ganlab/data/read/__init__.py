"""Reading datasets: where they lie, transfer, cache, order, batches."""
