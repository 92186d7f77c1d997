"""Plans for nodes: pods (`nodeplan`), network settings (`netplan`), and both in words for `drift`. nodeplane/ calls
them.
"""
