// Package gen is the HTTP interface of Weir as Go: types, routes and the strict server interface. All but this
// file is generated from ../openapi.yaml and is not edited. A result has the type export.Released here, so a
// handler can show an analyst nothing that the export filter did not make.
package gen

//go:generate sh -c "cd .. && go tool -modfile=../../tools/oapi/go.mod oapi-codegen -config gen/server.yaml openapi.yaml"
