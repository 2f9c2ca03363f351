"""The real thing: namespaces, servers, clients, and `penstock run` in line between them."""
