"""The terminal: tables and lines, progress, keys, a whole screen."""
