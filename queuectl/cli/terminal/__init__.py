"""What the terminal is to a command: tables and lines, progress, keys, a whole screen."""
