package worker

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/sandbox/wire"
)

// newPlanner serves a process that reads a person's text and holds no data. It has shut its engine and sealed itself
// before it learns even the names of tables, so it may have waited for them for any time.
func newPlanner() handler {
	ctx := context.Background()
	var p *planner
	created := false
	return func(request wire.Request) (wire.Reply, int64) {
		switch {
		case p == nil && request.Open != nil && !request.Open.Keeps:
			var err error
			if p, err = openPlanner(ctx, *request.Open); err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{}, smallReply
		case p != nil && !created && request.Create != nil:
			if err := create(ctx, p.engine, request.Create.Tables); err != nil {
				return failed(err), smallReply
			}
			created = true
			return wire.Reply{}, smallReply
		case created && request.Bind != nil:
			return p.bind(ctx, request.Bind.SQL), p.open.Bytes
		case created && request.Query != nil:
			table, err := p.query(ctx, *request.Query)
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{Table: table}, p.open.Bytes
		}
		return failed(errProtocol), smallReply
	}
}

// planner is an engine with what it asks about every text, so that the questions are not planned each time.
type planner struct {
	*engine
	prepares         *engine // another connection to its database
	statements, plan *sql.Stmt
}

// openPlanner opens the engine and shuts it.
func openPlanner(ctx context.Context, o wire.Open) (*planner, error) {
	e, err := openEngine(ctx, o)
	if err == nil {
		err = e.run(ctx, noJoinOrder)
	}
	if err != nil {
		return nil, err
	}
	p := &planner{engine: e}
	if p.prepares, err = e.another(ctx, utc, noOptimizer); err != nil {
		return nil, err
	}
	if p.statements, err = e.conn.PrepareContext(ctx, "SELECT json_serialize_sql($1::VARCHAR)::VARCHAR"); err != nil {
		return nil, err
	}
	if p.plan, err = e.conn.PrepareContext(ctx, "SELECT json_serialize_plan($1::VARCHAR, optimize := false)::VARCHAR"); err != nil {
		return nil, err
	}
	return p, e.shut(ctx)
}

// noJoinOrder spares the planner the search for the best order of joins, which for ten of them takes a quarter of a
// second. What it runs by itself reads small tables only.
const noJoinOrder = "SET disabled_optimizers = 'join_order'"

// noOptimizer is for a connection on which texts are prepared and never run: only the names and types of their columns
// are asked for. What is constant in them is not worked out either.
const noOptimizer = "PRAGMA disable_optimizer"

func create(ctx context.Context, e *engine, tables []wire.Schema) error {
	for _, table := range tables {
		var columns []string
		for _, c := range table.Columns {
			columns = append(columns, quote(c.Name)+" "+c.Type)
		}
		if err := e.run(ctx, fmt.Sprintf("CREATE TABLE %s (%s)", quote(table.Name), strings.Join(columns, ", "))); err != nil {
			return err
		}
	}
	return nil
}

// bind asks the engine what the text means, without running any of it.
//
// The first question is json_serialize_sql, since it only parses: other ways into the engine already act on some
// statements (PRAGMA, IMPORT, PIVOT) while they take a text apart. What is not exactly one SELECT ends there.
func (p *planner) bind(ctx context.Context, text string) wire.Reply {
	text = plainSpaces(text)
	if refusal, err := p.parse(ctx, text); err != nil {
		return failed(err)
	} else if refusal != nil {
		return refused(*refusal)
	}
	var reply string
	if err := p.plan.QueryRowContext(ctx, text).Scan(&reply); err != nil {
		return failed(err)
	}
	plan, bound := onlyPlan(reply)
	switch {
	case !bound:
		var answer serialized
		if err := json.Unmarshal([]byte(reply), &answer); err != nil || !answer.Error {
			return failed(errors.Join(err, errProtocol))
		}
		return refused(answer.refusal(text))
	case int64(len(plan)) > p.open.Bytes:
		return failed(errResultTooLarge)
	}
	meaning := wire.Bound{Bytes: int64(len(plan))}
	err := p.prepares.conn.Raw(func(conn any) error { return columns(conn.(*duckdb.Conn), text, &meaning) })
	if err != nil {
		return refused(wire.Refusal{Kind: "other", Offset: -1})
	}
	return wire.Reply{Bound: &meaning, Body: io.NopCloser(strings.NewReader(plan))}
}

// onlyPlan takes a plan out of the engine's answer as it is. Whoever judges the plan reads it, and refuses anything
// beside the one; here it is only handed on.
func onlyPlan(reply string) (plan string, bound bool) {
	plan, bound = strings.CutPrefix(reply, `{"error":false,"plans":[`)
	if !bound {
		return "", false
	}
	return strings.CutSuffix(plan, `]}`)
}

func refused(r wire.Refusal) wire.Reply {
	return wire.Reply{Failure: &wire.Failure{Class: "text", Text: &r}}
}

// serialized is what the engine's json_serialize functions answer.
type serialized struct {
	Error      bool              `json:"error"`
	Type       string            `json:"error_type"`
	Message    string            `json:"error_message"`
	Subtype    string            `json:"error_subtype"`
	Position   string            `json:"position"`
	Name       string            `json:"name"`
	Entry      string            `json:"type"`
	Call       string            `json:"call"`
	Statements []json.RawMessage `json:"statements"`
}

// parse refuses what is not exactly one SELECT. SUMMARIZE, DESCRIBE and SHOW are SELECTs to the engine, also
// inside FROM; they show in the syntax tree.
func (p *planner) parse(ctx context.Context, text string) (*wire.Refusal, error) {
	var reply string
	if err := p.statements.QueryRowContext(ctx, text).Scan(&reply); err != nil {
		return nil, err
	}
	var answer serialized
	if err := json.Unmarshal([]byte(reply), &answer); err != nil {
		return nil, err
	}
	switch {
	case answer.Error && answer.Type == "not implemented":
		return &wire.Refusal{Kind: "not-a-select", Offset: -1}, nil
	case answer.Error:
		r := answer.refusal(text)
		return &r, nil
	case len(answer.Statements) == 0:
		return &wire.Refusal{Kind: "not-a-select", Offset: -1}, nil
	case len(answer.Statements) > 1:
		return &wire.Refusal{Kind: "several-statements", Offset: -1}, nil
	}
	return refusedNode(answer.Statements[0])
}

// refusedNode looks for a node that no text may have. Few texts hold their names at all, as words of their own or of the
// analyst's, and only for those is the tree built.
func refusedNode(statement json.RawMessage) (*wire.Refusal, error) {
	if !bytes.Contains(statement, []byte(`"SHOW_REF"`)) && !bytes.Contains(statement, []byte(`"PARAMETER"`)) {
		return nil, nil
	}
	var tree any
	if err := json.Unmarshal(statement, &tree); err != nil {
		return nil, err
	}
	switch {
	case holds(tree, "type", "SHOW_REF"):
		return &wire.Refusal{Kind: "not-a-select", Offset: -1}, nil
	case holds(tree, "class", "PARAMETER"):
		return &wire.Refusal{Kind: "parameter", Offset: -1}, nil
	}
	return nil, nil
}

// holds reports whether anywhere in the tree a node has the field with the value.
func holds(tree any, field, value string) bool {
	switch node := tree.(type) {
	case []any:
		return slices.ContainsFunc(node, func(child any) bool { return holds(child, field, value) })
	case map[string]any:
		if node[field] == value {
			return true
		}
		for _, child := range node {
			if holds(child, field, value) {
				return true
			}
		}
	}
	return false
}

// columns asks for the names and types of the output. Prepare takes one statement only and runs nothing.
func columns(conn *duckdb.Conn, text string, bound *wire.Bound) error {
	prepared, err := conn.Prepare(text)
	if err != nil {
		return err
	}
	defer prepared.Close()
	statement := prepared.(*duckdb.Stmt)
	if kind, err := statement.StatementType(); err != nil || kind != duckdb.STATEMENT_TYPE_SELECT {
		return errors.Join(err, errProtocol)
	}
	count, err := statement.ColumnCount()
	if err != nil {
		return err
	}
	for i := range count {
		name, err := statement.ColumnName(i)
		if err != nil {
			return err
		}
		info, err := statement.ColumnTypeInfo(i)
		if err != nil {
			return err
		}
		bound.Names = append(bound.Names, name)
		bound.Types = append(bound.Types, typeName(info))
	}
	return nil
}
