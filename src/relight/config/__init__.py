"""Configuration: frozen sections, values with their origin, and everything that is generated from them."""
