package guard

import (
	_ "embed" // the guard's messages

	"weir/internal/problem"
)

//go:embed problems.yaml
var problems []byte

var _ = problem.Register(problems)
