"""Where frames come from and go to: interfaces in line, captures, memory."""
