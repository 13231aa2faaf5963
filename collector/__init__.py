"""The collector: takes frames in, finishes the queries and merges windows exactly once."""
