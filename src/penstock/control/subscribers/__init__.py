"""Who is behind an address: subscribers, the places they are at, and the sources that say so."""
