"""API and pages for people: a process of its own, which asks the running box and keeps a journal, tokens and an audit."""
