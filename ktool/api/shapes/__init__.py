"""Shapes: field trees and validation of Kubernetes' types that several kinds share. kinds/ builds its schemas from
them.
"""
