"""One file per verb of the command line, which assembles objects and calls them."""
