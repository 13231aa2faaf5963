"""The sketches beside other libraries' sketches, exact answers and the memory bound."""
