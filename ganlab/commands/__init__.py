"""One file for each verb of the command line: it assembles objects and calls them."""
