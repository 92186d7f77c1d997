"""The node tier's access to machines: transports, the Podman and the simulated runtime, host keys, bootstrap and
fencing.
"""
