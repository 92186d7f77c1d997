"""The network of a node: pod network, links to other nodes, nftables rules, DNS servers. node/podman calls it."""
