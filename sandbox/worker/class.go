package worker

import (
	"errors"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/sandbox/wire"
)

var (
	errProtocol       = errors.New("request out of place")
	errTooManyRows    = errors.New(wire.TooManyRows)
	errResultTooLarge = errors.New(wire.TooLarge)
	errUnsupported    = errors.New("value of a type that does not travel")
	errEncoding       = errors.New("malformed table")
	errNoRoom         = errors.New(wire.NoRoom)
)

// ours are the failures that say nothing but their own class.
var ours = []error{errProtocol, errTooManyRows, errResultTooLarge, errUnsupported, errEncoding, errNoRoom}

var classes = map[duckdb.ErrorType]string{
	duckdb.ErrorTypeOutOfRange:     "out of range",
	duckdb.ErrorTypeConversion:     "conversion",
	duckdb.ErrorTypeDivideByZero:   "division by zero",
	duckdb.ErrorTypeObjectSize:     "object size",
	duckdb.ErrorTypeCatalog:        "catalog",
	duckdb.ErrorTypeParser:         "parser",
	duckdb.ErrorTypeBinder:         "binder",
	duckdb.ErrorTypeInvalidInput:   "invalid input",
	duckdb.ErrorTypeOutOfMemory:    wire.OutOfMemory,
	duckdb.ErrorTypePermission:     "permission",
	duckdb.ErrorTypeIO:             "input or output",
	duckdb.ErrorTypeConstraint:     "constraint",
	duckdb.ErrorTypeInternal:       "internal",
	duckdb.ErrorTypeFatal:          "fatal",
	duckdb.ErrorTypeInterrupt:      "interrupted",
	duckdb.ErrorTypeNotImplemented: "not implemented",
}

// class is what may be said about an error: a fixed word, never its text.
func class(err error) string {
	for _, known := range ours {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	var fault *duckdb.Error
	if errors.As(err, &fault) {
		if word, ok := classes[fault.Type]; ok {
			return word
		}
		return "engine"
	}
	return "worker"
}

func failed(err error) wire.Reply {
	return wire.Reply{Failure: &wire.Failure{Class: class(err)}}
}
