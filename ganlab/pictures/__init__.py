"""Pictures: grids and PNG files."""
