"""The network of a node: pod network, links to other nodes, nftables rules and DNS servers."""
