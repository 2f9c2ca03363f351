"""The control process: ordinary Python that turns configuration and lists into the files that the packet process maps."""
