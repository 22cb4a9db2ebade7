"""Deciding where a prompt goes, and carrying it there."""
