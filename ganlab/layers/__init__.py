"""Operations without opinions, from which networks are made; all of them mean the same on any number of ranks."""
