package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/sandbox/wire"
)

// newPlanner serves a process that reads a person's text and holds no data. It has shut its engine and sealed itself
// before it learns even the names of tables, so it may have waited for them for any time.
func newPlanner() handler {
	ctx := context.Background()
	var e, prepares *engine // one database
	created := false
	return func(request wire.Request) (wire.Reply, int64) {
		switch {
		case e == nil && request.Open != nil && !request.Open.Keeps:
			var err error
			if e, err = openEngine(ctx, *request.Open); err == nil {
				err = e.run(ctx, noJoinOrder)
			}
			if err == nil {
				prepares, err = e.another(ctx, utc, noOptimizer)
			}
			if err == nil {
				err = e.shut(ctx)
			}
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{}, smallReply
		case e != nil && !created && request.Create != nil:
			if err := create(ctx, e, request.Create.Tables); err != nil {
				return failed(err), smallReply
			}
			created = true
			return wire.Reply{}, smallReply
		case created && request.Bind != nil:
			return bind(ctx, e, prepares, request.Bind.SQL), e.open.Bytes
		case created && request.Query != nil:
			table, err := e.query(ctx, *request.Query)
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{Table: table}, e.open.Bytes
		}
		return failed(errProtocol), smallReply
	}
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
func bind(ctx context.Context, e, prepares *engine, text string) wire.Reply {
	text = plainSpaces(text)
	if refusal, err := parse(ctx, e, text); err != nil {
		return failed(err)
	} else if refusal != nil {
		return refused(*refusal)
	}
	var answer serialized
	if err := e.ask(ctx, "json_serialize_plan($1::VARCHAR, optimize := false)", text, &answer); err != nil {
		return failed(err)
	}
	if answer.Error {
		return refused(answer.refusal(text))
	}
	if len(answer.Plans) != 1 {
		return refused(wire.Refusal{Kind: "several-statements", Offset: -1})
	}
	bound := wire.Bound{Plan: answer.Plans[0]}
	err := prepares.conn.Raw(func(conn any) error { return columns(conn.(*duckdb.Conn), text, &bound) })
	if err != nil {
		return refused(wire.Refusal{Kind: "other", Offset: -1})
	}
	return wire.Reply{Bound: &bound}
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
	Statements []json.RawMessage `json:"statements"`
	Plans      []json.RawMessage `json:"plans"`
}

func (e *engine) ask(ctx context.Context, call, text string, answer *serialized) error {
	var reply string
	if err := e.conn.QueryRowContext(ctx, "SELECT "+call+"::VARCHAR", text).Scan(&reply); err != nil {
		return err
	}
	return json.Unmarshal([]byte(reply), answer)
}

// parse refuses what is not exactly one SELECT. SUMMARIZE, DESCRIBE and SHOW are SELECTs to the engine, also
// inside FROM; they show in the syntax tree.
func parse(ctx context.Context, e *engine, text string) (*wire.Refusal, error) {
	var answer serialized
	if err := e.ask(ctx, "json_serialize_sql($1::VARCHAR)", text, &answer); err != nil {
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
