"""What a run is: its config, checks, folder, checkpoints and objects."""
