"""A user's own project folder and the state of the machine it runs on."""
