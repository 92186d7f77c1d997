"""Validation beyond schemas: rules between the fields of an object, and the syntax of names. kinds/ and
registry/admission call it.
"""
