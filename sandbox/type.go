package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var errType = errors.New("unknown type")

// typeNames maps what people write to what the engine calls it.
var typeNames = map[string]string{
	"bool": "BOOLEAN", "boolean": "BOOLEAN", "logical": "BOOLEAN",
	"tinyint": "TINYINT", "smallint": "SMALLINT", "short": "SMALLINT",
	"int": "INTEGER", "integer": "INTEGER", "int4": "INTEGER", "int32": "INTEGER", "signed": "INTEGER",
	"bigint": "BIGINT", "long": "BIGINT", "int8": "BIGINT", "int64": "BIGINT",
	"hugeint": "HUGEINT", "int128": "HUGEINT",
	"utinyint": "UTINYINT", "usmallint": "USMALLINT", "uinteger": "UINTEGER", "ubigint": "UBIGINT",
	"float": "FLOAT", "real": "FLOAT", "float4": "FLOAT", "float32": "FLOAT",
	"double": "DOUBLE", "double precision": "DOUBLE", "float8": "DOUBLE", "float64": "DOUBLE", "number": "DOUBLE",
	"text": "VARCHAR", "string": "VARCHAR", "varchar": "VARCHAR", "char": "VARCHAR", "nvarchar": "VARCHAR",
	"bpchar": "VARCHAR", "character varying": "VARCHAR", "character": "VARCHAR",
	"date": "DATE", "timestamp": "TIMESTAMP", "datetime": "TIMESTAMP",
	"decimal": "DECIMAL(18,3)", "numeric": "DECIMAL(18,3)", "dec": "DECIMAL(18,3)",
}

var typeForm = regexp.MustCompile(`^([a-z0-9]+(?: [a-z]+)?)\s*(?:\(\s*(\d{1,9})\s*(?:,\s*(\d{1,9})\s*)?\))?$`)

// NormalizeType gives the engine's name for a type as a manifest may write it: any case, common synonyms, lengths
// of texts (which are not enforced, as the engine does not), precision and scale of decimals.
func NormalizeType(written string) (string, error) {
	parts := typeForm.FindStringSubmatch(strings.Join(strings.Fields(strings.ToLower(written)), " "))
	if parts == nil {
		return "", errType
	}
	name, first, second := typeNames[parts[1]], parts[2], parts[3]
	switch {
	case name == "":
		return "", errType
	case first == "":
		return name, nil
	case name == "VARCHAR" && second == "":
		return name, nil
	case strings.HasPrefix(name, "DECIMAL"):
		width, _ := strconv.Atoi(first)
		scale, _ := strconv.Atoi("0" + second)
		if width < 1 || width > 38 || scale > width {
			return "", errType
		}
		return fmt.Sprintf("DECIMAL(%d,%d)", width, scale), nil
	}
	return "", errType
}
