"""How a game is played: networks, players, steps, averages, time."""
