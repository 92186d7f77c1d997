"""Node plane: the loops of kubelet and kube-proxy, run from the control plane. `app` builds it."""
