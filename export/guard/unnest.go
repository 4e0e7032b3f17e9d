package guard

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/problem"
)

// What makes rows out of values: unnest and the table functions. Over open and released relations it is
// post-processing. Protected rows may be joined with rows that the analyst wrote, as with any open ones; rows that are
// made of each protected row's own values would give it a weight of its own choosing.

// unnest types the operator that the engine makes of unnest in a SELECT.
func (c *checker) unnest(n *node) (*relation, error) {
	in, err := c.child(n)
	if err != nil {
		return nil, err
	}
	list, err := n.exprs()
	if err != nil || len(list) == 0 {
		return nil, problem.New("guard.unknown-plan", "what", "unnest").Because(err)
	}
	if in.kind != protected {
		w := c.wrap(in)
		return c.unnested(w, list, w)
	}
	rows, err := c.unnested(&relation{kind: openData, single: true}, list, &relation{kind: openData, single: true})
	if err != nil {
		return nil, c.deny(nil, "guard.unnest")
	}
	j := &joining{checker: c, node: &node{Type: "LOGICAL_CROSS_PRODUCT"}, left: c.wrap(in), right: rows}
	return j.both()
}

// unnested adds a column for each list. Its SELECT stands beneath another, since an unnest may not stand elsewhere.
func (c *checker) unnested(w *relation, list []*expr, in *relation) (*relation, error) {
	alias := c.alias()
	r := &relation{kind: w.kind, reads: w.reads, data: w.data}
	columns := w.columns(nil)
	if len(w.cols) == 0 {
		columns = nil
	}
	for i, v := range w.cols {
		m := v.margin.gone()
		if w.carriesMargin(i) {
			m.sql = alias + ".m" + itoa(i)
		}
		r.cols = append(r.cols, value{sql: alias + ".c" + itoa(i), typ: v.typ, sort: freeValue, name: v.name, key: -1, margin: m})
	}
	for i, e := range list {
		if err := c.wordsOfExpr(e); err != nil {
			return nil, err
		}
		if e.Class != "BOUND_UNNEST" {
			return nil, c.orUnknown(e, nil)
		}
		of, err := c.expr(e.Child, in)
		if err != nil {
			return nil, err
		}
		if e.Return.use() == typeDenied {
			return nil, c.deny(e, "guard.unknown-type", "type", e.Return.ID)
		}
		place := "c" + itoa(len(w.cols)+i)
		columns = append(columns, "unnest("+of.sql+") AS "+place)
		r.cols = append(r.cols, value{sql: alias + "." + place, typ: e.Return, sort: freeValue, name: "unnest", key: -1})
	}
	from := ""
	if w.from != "" {
		from = " FROM " + w.from
	}
	r.from = "(SELECT " + strings.Join(columns, ", ") + from + ") AS " + alias
	return r, nil
}

// tableFunction types range and its like, with constant arguments, and unnest of a list.
func (c *checker) tableFunction(n *node) (*relation, error) {
	if !tables[n.Name] || n.Filters == nil || len(n.Filters.Filters) > 0 || n.Ordinality != nil && *n.Ordinality != unset || n.RowGroups != nil ||
		n.Extra != nil && n.Extra.Sample != nil {
		return nil, c.deny(nil, "guard.table-function", "function", n.Name)
	}
	if len(n.Children) > 0 {
		return c.lateral(n)
	}
	if len(n.Parameters) == 0 || len(n.Parameters) > 3 || len(n.Returned) != 1 {
		return nil, c.deny(nil, "guard.table-function", "function", n.Name)
	}
	var args []string
	for _, p := range n.Parameters {
		text, err := p.sql()
		if err != nil || p.Null {
			return nil, c.denyBecause(nil, err, "guard.table-function", "function", n.Name)
		}
		args = append(args, text)
	}
	alias := c.alias()
	if n.Name != "unnest" {
		c.makes(alias, n.Parameters)
	}
	r := &relation{from: fmt.Sprintf("(SELECT %s(%s) AS v) AS %s", n.Name, strings.Join(args, ", "), alias)}
	if n.Name != "unnest" {
		r.from = fmt.Sprintf("%s(%s) AS %s(v)", n.Name, strings.Join(args, ", "), alias)
	}
	for range n.Columns {
		r.cols = append(r.cols, value{sql: alias + ".v", typ: n.Returned[0], sort: freeValue, name: n.Name, key: -1})
	}
	return r, nil
}

// mostMade is how many rows a query may make by itself beside protected ones: as many as a hundred years have days. An
// expression that fails on a row and is made NULL takes the engine a tenth of a millisecond.
const mostMade = 40_000

// makes notes how many rows range or generate_series makes of their bounds and step.
func (c *checker) makes(name string, args []constant) {
	var sizes []float64
	for _, a := range args {
		size, ok := a.size()
		if !ok {
			size = math.Inf(1)
		}
		sizes = append(sizes, size)
	}
	c.makesOf(name, sizes)
}

func (c *checker) makesOf(name string, sizes []float64) {
	of := []float64{0, 0, 1}
	for i, size := range sizes {
		if math.IsInf(size, 0) || i >= len(of) {
			c.made[name] = math.Inf(1)
			return
		}
		if len(sizes) == 1 {
			i = 1
		}
		of[i] = size
	}
	c.made[name] = math.Max(1, math.Abs((of[1]-of[0])/of[2]))
}

// size is a number, or a time in microseconds.
func (c constant) size() (float64, bool) {
	text, err := c.text()
	switch {
	case err != nil:
		return 0, false
	case c.Type.ID == "TIMESTAMP":
		text = strings.TrimSpace(string(c.Value))
	case c.Type.ID == "DATE":
		days, err := strconv.ParseFloat(strings.TrimSpace(string(c.Value)), 64)
		return days * 24 * 3600e6, err == nil
	case c.Type.ID == "INTERVAL":
		var months, days, micros float64
		_, err = fmt.Sscanf(text, "%f months %f days %f microseconds", &months, &days, &micros)
		return (months*30+days)*24*3600e6 + micros, err == nil
	}
	size, err := strconv.ParseFloat(text, 64)
	return size, err == nil
}

// makesLong notes the same of a call that makes a list, or a text that can be taken apart into one.
func (c *checker) makesLong(sql string, e *expr, args []value) {
	constants := !slices.ContainsFunc(args, func(v value) bool { return v.sort != constantValue })
	switch e.Name {
	case "range", "generate_series":
		c.makesList(sql, e.Children, constants)
	case "list_resize", "array_resize":
		c.makesList(sql, e.Children[1:2], constants)
	case "repeat", "lpad", "rpad":
		if c.makesList(sql, e.Children[1:2], constants); c.made[sql] <= mostMade {
			delete(c.made, sql) // a label
		}
	}
}

// makesList notes what is made of the numbers. Those that are computed of constants may be anything, but for an interval's.
func (c *checker) makesList(name string, list []*expr, constants bool) {
	var sizes []float64
	for _, e := range list {
		size, ok := sizeOf(e)
		switch {
		case ok:
			sizes = append(sizes, size)
		case constants:
			c.made[name] = math.Inf(1)
			return
		default:
			return
		}
	}
	c.makesOf(name, sizes)
}

// microseconds are the functions that the engine writes for an interval, as in INTERVAL 1 DAY.
var microseconds = map[string]float64{"to_seconds": 1e6, "to_minutes": 60e6, "to_hours": 3600e6, "to_days": 24 * 3600e6, "to_weeks": 7 * 24 * 3600e6,
	"to_months": 30 * 24 * 3600e6, "to_quarters": 90 * 24 * 3600e6, "to_years": 360 * 24 * 3600e6}

// sizeOf is the size of a constant, or of an interval that is made of one.
func sizeOf(e *expr) (size float64, ok bool) {
	for {
		if e.Class == "BOUND_CAST" && e.Child != nil {
			e = e.Child
		} else if e.Name == "trunc" && len(e.Children) == 1 { // the engine's own, in an interval
			e = e.Children[0]
		} else {
			break
		}
	}
	switch unit := microseconds[e.Name]; {
	case e.Class == "BOUND_CONSTANT" && e.Value != nil && !e.Value.Null:
		if size, ok = e.Value.size(); !ok {
			text, _ := e.Value.text()
			return sizeOfText(text)
		}
		return size, ok
	case e.Class == "BOUND_FUNCTION" && unit > 0 && len(e.Children) == 1:
		size, ok = sizeOf(e.Children[0])
		return size * unit, ok
	}
	return 0, false
}

// sizeOfText is that of a date, a time or an interval that is written as text, as in DATE '2026-01-01'.
func sizeOfText(text string) (size float64, ok bool) {
	for _, layout := range []string{time.DateOnly, time.DateTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return float64(at.UnixMicro()), true
		}
	}
	var n float64
	var unit string
	if _, err := fmt.Sscanf(text, "%f %s", &n, &unit); err != nil {
		return 0, false
	}
	one := microseconds["to_"+strings.TrimSuffix(strings.ToLower(unit), "s")+"s"]
	return n * one, one > 0
}

// makesMany reports whether so many rows are made that it takes time to have them meet a protected row. Whether there is such a
// row would be known from that, or from the job's end.
func (c *checker) makesMany() bool {
	product := 1.0
	for _, rows := range c.made {
		product *= rows
	}
	return product > mostMade
}

// lateral types unnest of a list that stands in another relation of the same FROM. The engine hands it the relation
// of those outer values, computes the list there, and gives back the list's members beside what it was asked to keep.
func (c *checker) lateral(n *node) (*relation, error) {
	if n.Name != "unnest" || len(n.Children) != 1 || n.Children[0].Type != "LOGICAL_PROJECTION" || len(n.Children[0].Children) != 1 || len(n.Returned) != 1 {
		return nil, c.deny(nil, "guard.table-function", "function", n.Name)
	}
	inner := n.Children[0]
	in, err := c.relation(inner.Children[0])
	if err != nil {
		return nil, err
	}
	if in.kind == protected {
		return nil, c.deny(nil, "guard.unnest")
	}
	list, err := inner.exprs()
	if err != nil || len(list) == 0 {
		return nil, problem.New("guard.unknown-plan", "what", "unnest").Because(err)
	}
	w := c.wrap(in)
	for _, e := range list {
		if err := e.resolve(inner.Children[0].TableIndex, len(w.cols), 0); err != nil {
			return nil, problem.New("guard.unknown-plan", "what", "unnest").Because(err)
		}
	}
	kept := &relation{kind: w.kind, from: w.from, reads: w.reads, data: w.data}
	for _, place := range n.Projected {
		if place >= uint64(len(list)) {
			return nil, problem.New("guard.unknown-plan", "what", "unnest")
		}
		v, err := c.expr(list[place], w)
		if err != nil {
			return nil, err
		}
		kept.cols = append(kept.cols, v)
	}
	r, err := c.unnested(kept, []*expr{{Class: "BOUND_UNNEST", Type: "BOUND_UNNEST", Child: list[0], Return: n.Returned[0]}}, w)
	if err != nil {
		return nil, err
	}
	last := len(r.cols) - 1 // the members come first, and what is kept after them
	r.cols = append([]value{r.cols[last]}, r.cols[:last]...)
	return r, nil
}

// resolve turns a column that the engine left by its table and place, which it does below an unnest only, into a place.
func (e *expr) resolve(table uint64, columns, depth int) error {
	if e == nil {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("an expression is too deep")
	}
	if e.Class == "BOUND_COLUMN_REF" {
		if e.Binding == nil || e.Binding.Table != table || e.Binding.Column >= uint64(columns) || e.Depth != 0 {
			return fmt.Errorf("a column belongs to no relation")
		}
		e.Class, e.Type, e.Index = "BOUND_REF", "BOUND_REF", e.Binding.Column
		return nil
	}
	inside := append(present(e.Child, e.Left, e.Right, e.Input, e.Lower, e.Upper, e.Else), e.Children...)
	for _, ch := range e.Checks {
		inside = append(inside, ch.When, ch.Then)
	}
	for _, i := range inside {
		if err := i.resolve(table, columns, depth+1); err != nil {
			return err
		}
	}
	return nil
}
