"""Learns from the outcomes of this user's calls, on top of the shipped analysis. Pure, without I/O."""
