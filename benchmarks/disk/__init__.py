"""How many bytes a series takes on the database's disk, for how long."""
