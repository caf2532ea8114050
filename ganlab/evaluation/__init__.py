"""Generated images against real ones, on all ranks, with the protocol in every number's name."""
