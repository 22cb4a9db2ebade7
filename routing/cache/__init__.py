"""Answers that are served again."""
