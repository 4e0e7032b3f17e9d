// Package client speaks the HTTP interface of Weir. All but this file is generated from ../openapi.yaml and is
// not edited.
package client

//go:generate sh -c "cd .. && go tool -modfile=../../tools/oapi/go.mod oapi-codegen -config client/client.yaml openapi.yaml"
