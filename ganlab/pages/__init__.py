"""Pages that a browser shows: one file that opens offline, or served from this machine to this machine alone."""
