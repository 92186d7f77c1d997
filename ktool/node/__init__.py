"""Access to machines: transports, the Podman and the simulated runtime, host keys, bootstrap, fencing. nodeplane/ uses
it.
"""
