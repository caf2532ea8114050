"""How a game is trained: networks, players, steps, averages, time."""
