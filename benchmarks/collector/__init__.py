"""The collector and the store measured: what one core takes in, merges, writes and reads back, and how soon."""
