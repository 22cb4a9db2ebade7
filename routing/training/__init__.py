"""Trains the analyser from the data beside it; needs the development extra, and nothing else imports it."""
