"""Network algorithms: address allocation, endpoints, service rules, policies, links between nodes, DNS zone."""
