// Package deploy carries the files that Weir is set up with: the parameters, grants, people and questions of the
// demonstration. It holds bytes and nothing else; whoever reads a file checks it.
package deploy

import "embed"

// Demo is the folder demo: city.yaml, grants.yaml, people.yaml, queries.yaml. Package city reads them.
//
//go:embed demo/*.yaml
var Demo embed.FS
