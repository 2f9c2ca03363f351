"""Lists of names: how their files are written, and the database that is built of them."""
