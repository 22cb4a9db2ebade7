"""How to open files in a folder into which somebody else may have put something."""

import os

NO_TRICKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for `os.open`, which then opens no link, and waits for no pipe."""
