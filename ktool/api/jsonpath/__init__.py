"""JSONPath in kubectl's dialect: a parser (`reader`) and an evaluator (`evaluate`). The output forms use it."""
