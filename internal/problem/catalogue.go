package problem

import _ "embed" // the messages that belong to no room

//go:embed problems.yaml
var own []byte

var _ = Register(own)
