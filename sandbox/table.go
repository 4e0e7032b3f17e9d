package sandbox

// Column is a column of a table that came out of the engine, with the engine's name for its type.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Table is a result as it travels between the processes. A value is nil, bool, string or json.Number: whole
// numbers of any width and decimals keep every digit, dates and timestamps are ISO strings, and a floating-point
// number that is not finite is nil.
type Table struct {
	Columns []Column `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

// Named is a table under the name by which a query reads it.
type Named struct {
	Name  string `json:"name"`
	Table Table  `json:"table"`
}
