"""Manifests: reading YAML and JSON with positions, SOPS decryption, and writing YAML. Commands read; nothing here
sends.
"""
