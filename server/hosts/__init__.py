"""The programs that start tierwise, and their files that say so."""
