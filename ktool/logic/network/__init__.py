"""Network algorithms: address allocation, endpoints, service rules, policies, links and DNS. kinds/ and nodeplane/ call
them.
"""
