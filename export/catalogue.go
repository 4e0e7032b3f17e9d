package export

import (
	_ "embed" // the messages of the export filter

	"weir/internal/problem"
)

//go:embed problems.yaml
var problems []byte

var _ = problem.Register(problems)
