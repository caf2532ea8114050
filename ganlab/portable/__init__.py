"""Models that travel: a folder for people who have neither the run nor, for most of its forms, ganlab."""
