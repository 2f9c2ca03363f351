"""Flows: the record that kernel and process share (`record`), and the bytes of unfinished requests (`stream`)."""
