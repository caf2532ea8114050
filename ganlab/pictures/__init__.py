"""What people look at: grids, PNG files."""
