"""The workflows of the corpus, by theme; each says what it is there for."""
