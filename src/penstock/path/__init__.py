"""The packet path of the process: ring → read → judge → settle → wire. Compiled whole; it runs no Python once started."""
