package sandbox

import "regexp"

// datasetName is what a data set may be called. It is part of paths and of SQL.
var datasetName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
