"""Node values: the actions and facts of a node, its status and Events, back-off and probe calls."""
