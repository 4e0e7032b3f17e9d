package guard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The engine's bound plan, as json_serialize_plan writes it. Decoding refuses a field that is not listed here:
// an upgrade of the engine that adds meaning to a plan must be met by a rule, not passed over.

const unset = ^uint64(0) // how the engine writes "no index" and "no place"

type node struct {
	Type     string  `json:"type"`
	Children []*node `json:"children"`

	Expressions exprs `json:"expressions"`

	// LOGICAL_GET
	Name        string         `json:"name"`
	Names       []string       `json:"names"`
	Columns     []columnIndex  `json:"column_indexes"`
	Returned    []typ          `json:"returned_types"`
	Function    jsontext.Value `json:"function_data"`
	Parameters  []constant     `json:"parameters"`
	Filters     *tableFilters  `json:"table_filters"`
	Extra       *extraInfo     `json:"extra_info"`
	Ordinality  *uint64        `json:"ordinality_idx"`
	Projection  []uint64       `json:"projection_ids"`
	Projected   []uint64       `json:"projected_input"`
	RowGroups   any            `json:"row_group_order_options"`
	InputTypes  []typ          `json:"input_table_types"`
	InputNames  []string       `json:"input_table_names"`
	NamedParams any            `json:"named_parameters"`

	// LOGICAL_FILTER and joins
	ProjectionMap   []uint64   `json:"projection_map"`
	LeftProjection  []uint64   `json:"left_projection_map"`
	RightProjection []uint64   `json:"right_projection_map"`
	JoinType        string     `json:"join_type"`
	MarkIndex       uint64     `json:"mark_index"`
	MarkTypes       []typ      `json:"mark_types"`
	Conditions      []joinCond `json:"conditions"`
	Condition       *expr      `json:"condition"`
	Predicate       *expr      `json:"predicate"`
	Duplicate       []*expr    `json:"duplicate_eliminated_columns"`
	DelimFlipped    bool       `json:"delim_flipped"`

	// LOGICAL_AGGREGATE_AND_GROUP_BY
	Groups       []*expr    `json:"groups"`
	GroupingSets [][]uint64 `json:"grouping_sets"`
	GroupingFns  [][]uint64 `json:"grouping_functions"`
	Validity     string     `json:"distinct_validity"`

	// LOGICAL_ORDER_BY, LOGICAL_LIMIT, LOGICAL_DISTINCT, LOGICAL_SAMPLE
	Orders      []order    `json:"orders"`
	Projections []uint64   `json:"projections"`
	Limit       *limit     `json:"limit_val"`
	Offset      *limit     `json:"offset_val"`
	Distinct    string     `json:"distinct_type"`
	Targets     []*expr    `json:"distinct_targets"`
	OrderBy     *orderList `json:"order_by"`
	Sample      any        `json:"sample_options"`

	// CTEs and set operations
	CTEIndex     uint64   `json:"cte_index"`
	CTEName      string   `json:"ctename"`
	Materialize  string   `json:"materialize"`
	ColumnCount  uint64   `json:"column_count"`
	ChunkTypes   []typ    `json:"chunk_types"`
	BoundColumns []string `json:"bound_columns"`
	Recurring    bool     `json:"is_recurring"`
	SetopAll     bool     `json:"setop_all"`
	OutOfOrder   bool     `json:"allow_out_of_order"`
	UnionAll     bool     `json:"union_all"`
	RefRecurring bool     `json:"ref_recurring"`
	KeyTargets   []*expr  `json:"key_targets"`
	ExprTypes    []typ    `json:"expr_types"`

	// Places in the engine's own numbering, and what only names things: read, and not used.
	TableIndex    uint64 `json:"table_index"`
	GroupIndex    uint64 `json:"group_index"`
	AggregateIdx  uint64 `json:"aggregate_index"`
	GroupingsIdx  uint64 `json:"groupings_index"`
	WindowIndex   uint64 `json:"window_index"`
	UnnestIndex   uint64 `json:"unnest_index"`
	Arguments     []any  `json:"arguments"`
	OriginalArgs  []any  `json:"original_arguments"`
	CatalogName   string `json:"catalog_name"`
	SchemaName    string `json:"schema_name"`
	HasSerialize  bool   `json:"has_serialize"`
	CorrelatedCol any    `json:"correlated_columns"`
}

type columnIndex struct {
	Index     uint64        `json:"index"`
	Children  []columnIndex `json:"child_indexes"`
	IndexType string        `json:"index_type"`
	Type      typ           `json:"type"`
	Field     string        `json:"field"`
	HasIndex  bool          `json:"has_index"`
}

type functionData struct {
	Catalog       string   `json:"catalog"`
	Schema        string   `json:"schema"`
	Table         string   `json:"table"`
	IsIndexScan   bool     `json:"is_index_scan"`
	IsCreateIndex bool     `json:"is_create_index"`
	ResultIDs     []uint64 `json:"result_ids"`
}

// quantileData is what a bound quantile carries: the fractions are no longer among its arguments.
type quantileData struct {
	Quantiles  []constant `json:"quantiles"`
	Order      []uint64   `json:"order"`
	Descending bool       `json:"desc"`
}

type tableFilters struct {
	Filters []any `json:"filters"`
}

type extraInfo struct {
	FileFilters   string `json:"file_filters"`
	TotalFiles    uint64 `json:"total_files"`
	FilteredFiles uint64 `json:"filtered_files"`
	Sample        any    `json:"sample_options"`
}

type joinCond struct {
	Left       *expr  `json:"left"`
	Right      *expr  `json:"right"`
	Comparison string `json:"comparison"`
}

type order struct {
	Direction  string `json:"type"`
	NullOrder  string `json:"null_order"`
	Expression *expr  `json:"expression"`
}

type orderList struct {
	Orders []order `json:"orders"`
}

type limit struct {
	Type       string  `json:"type"`
	Integer    uint64  `json:"constant_integer"`
	Percentage float64 `json:"constant_percentage"`
	Expression *expr   `json:"expression"`
}

type typ struct {
	ID   string    `json:"id"`
	Info *typeInfo `json:"type_info"`
}

type typeInfo struct {
	Kind      string   `json:"type"`
	Alias     string   `json:"alias"`
	Extension any      `json:"extension_info"`
	Width     int      `json:"width"`
	Scale     int      `json:"scale"`
	Child     *typ     `json:"child_type"`
	Fields    []field  `json:"child_types"`
	Collation string   `json:"collation"`
	Values    []string `json:"values"`
	Count     uint64   `json:"values_count"`
	Size      uint64   `json:"size"`
}

// field is a member of a structure or a union.
type field struct {
	Name string `json:"first"`
	Type typ    `json:"second"`
}

type constant struct {
	Type  typ            `json:"type"`
	Null  bool           `json:"is_null"`
	Value jsontext.Value `json:"value"`
}

type expr struct {
	Class    string `json:"expression_class"`
	Type     string `json:"type"`
	Alias    string `json:"alias"`
	Location uint64 `json:"query_location"`
	Return   typ    `json:"return_type"`

	Index    uint64    `json:"index"`   // BOUND_REF
	Binding  *binding  `json:"binding"` // BOUND_COLUMN_REF
	Depth    uint64    `json:"depth"`
	Value    *constant `json:"value"`    // BOUND_CONSTANT
	Child    *expr     `json:"child"`    // BOUND_CAST, BOUND_UNNEST
	TryCast  bool      `json:"try_cast"` // BOUND_CAST
	Left     *expr     `json:"left"`     // BOUND_COMPARISON
	Right    *expr     `json:"right"`
	Children []*expr   `json:"children"` // conjunctions, operators, functions, aggregates, windows
	Checks   []check   `json:"case_checks"`
	Else     *expr     `json:"else_expr"`
	Input    *expr     `json:"input"` // BOUND_BETWEEN
	Lower    *expr     `json:"lower"`
	Upper    *expr     `json:"upper"`
	LowerInc bool      `json:"lower_inclusive"`
	UpperInc bool      `json:"upper_inclusive"`

	Name         string         `json:"name"`
	Arguments    []any          `json:"arguments"`
	OriginalArgs []any          `json:"original_arguments"`
	CatalogName  string         `json:"catalog_name"`
	SchemaName   string         `json:"schema_name"`
	HasSerialize bool           `json:"has_serialize"`
	IsOperator   bool           `json:"is_operator"`
	Function     jsontext.Value `json:"function_data"` // differs by function; a rule that needs it reads it

	AggregateType string     `json:"aggregate_type"`
	Filter        *expr      `json:"filter"`
	OrderBys      *orderList `json:"order_bys"`

	Partitions    []*expr `json:"partitions"` // BOUND_WINDOW
	Orders        []order `json:"orders"`
	Filters       *expr   `json:"filters"`
	IgnoreNulls   bool    `json:"ignore_nulls"`
	Start         string  `json:"start"`
	End           string  `json:"end"`
	StartExpr     *expr   `json:"start_expr"`
	EndExpr       *expr   `json:"end_expr"`
	OffsetExpr    *expr   `json:"offset_expr"`
	DefaultExpr   *expr   `json:"default_expr"`
	Exclude       string  `json:"exclude_clause"`
	DistinctAgg   bool    `json:"distinct"`
	ArgOrders     []order `json:"arg_orders"`
	BoundLambda   any     `json:"lambda_expr"`
	Captures      []*expr `json:"captures"`
	ParameterCnt  uint64  `json:"parameter_count"`
	CorrelatedCol any     `json:"correlated_columns"`
}

// binding is a column by its relation's number and its place in it.
type binding struct {
	Table  uint64 `json:"table_index"`
	Column uint64 `json:"column_index"`
}

type check struct {
	When *expr `json:"when_expr"`
	Then *expr `json:"then_expr"`
}

// exprs are a list of expressions, or the rows of VALUES.
type exprs struct {
	list []*expr
	rows [][]*expr
}

// UnmarshalJSONFrom reads either in one pass: a plan is mostly expressions.
func (e *exprs) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	if start, err := from.ReadToken(); err != nil || start.Kind() != '[' {
		return errors.Join(err, errors.New("expressions are no list"))
	}
	for from.PeekKind() != ']' {
		var err error
		if from.PeekKind() == '[' {
			e.rows = append(e.rows, nil)
			err = json.UnmarshalDecode(from, &e.rows[len(e.rows)-1])
		} else {
			e.list = append(e.list, nil)
			err = json.UnmarshalDecode(from, &e.list[len(e.list)-1])
		}
		if err != nil {
			return err
		}
	}
	_, err := from.ReadToken()
	return err
}

func decodePlan(text []byte) (*node, error) {
	var n node
	if err := decodeStrict(text, &n); err != nil {
		return nil, fmt.Errorf("plan of the engine: %w", err)
	}
	if err := n.whole(); err != nil {
		return nil, fmt.Errorf("plan of the engine: %w", err)
	}
	return &n, nil
}

// decodeStrict refuses unknown and repeated fields, and whatever follows the value.
func decodeStrict(text []byte, into any) error {
	return json.Unmarshal(text, into, json.RejectUnknownMembers(true))
}

// exprs gives the node's list of expressions, which may be changed: a plan is typed several times.
func (n *node) exprs() ([]*expr, error) {
	if len(n.Expressions.rows) > 0 {
		return nil, fmt.Errorf("expressions of %s are rows", n.Type)
	}
	return slices.Clone(n.Expressions.list), nil
}

// rows gives the lists of expressions that VALUES holds.
func (n *node) rows() ([][]*expr, error) {
	if len(n.Expressions.list) > 0 {
		return nil, fmt.Errorf("rows of %s are expressions", n.Type)
	}
	return n.Expressions.rows, nil
}
