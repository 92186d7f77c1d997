"""Presentation: tables, descriptions, output forms and progress. Commands use it; the only user of Rich."""
