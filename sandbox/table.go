package sandbox

import "weir/sandbox/wire"

// Column is a column of a table that came out of the engine, with the engine's name for its type.
type Column = wire.Column

// Table is a result as it travels between the processes. A value is nil, bool, string or json.Number: whole
// numbers of any width and decimals keep every digit, dates and timestamps are ISO strings, and a floating-point
// number that is not finite is nil.
type Table = wire.Table

// Named is a table under the name by which a query reads it.
type Named = wire.Named
