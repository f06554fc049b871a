"""Tests: `unit` mirrors the packages, `integration` starts real processes; both run on every Python."""
