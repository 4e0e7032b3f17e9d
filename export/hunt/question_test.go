package hunt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"weir/policy"
)

// question is one SQL text in parts, so that it can be made smaller part by part.
type question struct {
	From   string
	Where  []string
	Groups []string
	Cells  []string
	Having string
	Tail   string
	raw    string // the whole text, of a question that is not in parts
}

// SQL writes the text. Groups stand in front.
func (q question) SQL() string {
	if q.raw != "" {
		return q.raw
	}
	sql := "SELECT " + strings.Join(append(slices.Clone(q.Groups), q.Cells...), ", ") + " FROM " + q.From
	if len(q.Where) > 0 {
		sql += " WHERE " + strings.Join(q.Where, " AND ")
	}
	if len(q.Groups) > 0 {
		sql += " GROUP BY " + strings.Join(q.Groups, ", ")
	}
	if q.Having != "" {
		sql += " HAVING " + q.Having
	}
	return sql + q.Tail
}

// column is what a question may use of a relation.
type column struct {
	name string
	kind string // text, number, bool, date or key
	like policy.Column
}

// asker makes questions about a family's data.
type asker struct {
	*rand.Rand
	family family
}

func (a asker) pick(list ...string) string { return list[a.IntN(len(list))] }

func columnsOf(d policy.Dataset, prefix string) (list []column) {
	for _, c := range d.Columns {
		kind := "text"
		switch {
		case c.Class == policy.Identifier:
			kind = "key"
		case c.Type == "BOOLEAN":
			kind = "bool"
		case c.Type == "DATE":
			kind = "date"
		case c.Bound != nil:
			kind = "number"
		}
		list = append(list, column{prefix + c.Name, kind, c})
	}
	return list
}

// source gives something to ask about, and its columns.
func (a asker) source() (from string, columns []column) {
	d := a.protected()
	key := a.keyOf(d)
	own := columnsOf(d, "")
	switch a.IntN(12) {
	case 0, 1:
		return a.joined(d)
	case 2:
		return a.facts(d, key)
	case 3:
		order := a.any(own).name
		windows := a.pick("row_number() OVER (PARTITION BY %[1]s ORDER BY %[2]s, %[3]s)", "count(*) OVER (PARTITION BY %[1]s)",
			"rank() OVER (PARTITION BY %[1]s ORDER BY %[2]s)")
		sql := fmt.Sprintf("SELECT *, "+windows+" AS w FROM %[4]s", key, order, a.any(own).name, d.Name)
		if a.IntN(3) == 0 {
			sql += " WHERE " + a.condition(own)
		}
		return "(" + sql + ") t", append(own, column{name: "w", kind: "number"})
	case 4:
		i := a.IntN(2) + 2
		return fmt.Sprintf("%s, range(%d) r(i)", d.Name, i), append(own, column{name: "i", kind: "number"})
	case 5:
		return fmt.Sprintf("%[1]s a JOIN %[1]s b ON a.%[2]s = b.%[2]s", d.Name, key), append(columnsOf(d, "a."), columnsOf(d, "b.")...)
	case 6:
		x, y := a.of(own, "text", "date"), a.of(own, "text", "date")
		if x.name != "" && y.kind == x.kind {
			return fmt.Sprintf("(SELECT %[1]s AS k, %[2]s AS x FROM %[4]s UNION ALL SELECT %[1]s, %[3]s FROM %[4]s) t", key, x.name, y.name, d.Name),
				[]column{{name: "k", kind: "key"}, {"x", x.kind, x.like}}
		}
	case 7:
		return fmt.Sprintf("(SELECT * FROM %s WHERE %s) t", d.Name, a.condition(own)), own
	}
	return d.Name, own
}

// protected chooses a table with units.
func (a asker) protected() policy.Dataset {
	for {
		if d := a.family.tables[a.IntN(len(a.family.tables))]; !d.Open {
			return d
		}
	}
}

func (a asker) keyOf(d policy.Dataset) string { return d.Units[a.IntN(len(d.Units))].Key }

// joined joins another table: an open one, or one with a key of the same domain.
func (a asker) joined(d policy.Dataset) (from string, columns []column) {
	other := a.family.tables[a.IntN(len(a.family.tables))]
	word := a.pick("JOIN", "LEFT JOIN", "JOIN")
	left, right := columnsOf(d, "a."), columnsOf(other, "b.")
	var on []string
	if other.Open {
		for _, l := range left {
			for _, r := range right {
				if l.kind == r.kind && strings.TrimPrefix(l.name, "a.") == strings.TrimPrefix(r.name, "b.") {
					on = append(on, l.name+" = "+r.name)
				}
			}
		}
		if len(on) == 0 {
			return d.Name, columnsOf(d, "")
		}
		on = []string{on[a.IntN(len(on))]}
		if a.IntN(4) == 0 {
			on = append(on, a.condition(left))
		}
	} else {
		u, v := d.Units[a.IntN(len(d.Units))], other.Units[a.IntN(len(other.Units))]
		if u.Domain != v.Domain {
			return d.Name, columnsOf(d, "")
		}
		on = append(on, "a."+u.Key+" = b."+v.Key)
		if a.IntN(3) == 0 {
			on = append(on, a.condition(right))
		}
	}
	return fmt.Sprintf("%s a %s %s b ON %s", d.Name, word, other.Name, strings.Join(on, " AND ")), append(left, right...)
}

// facts are one row for each unit, or for each unit and one thing more.
func (a asker) facts(d policy.Dataset, key string) (from string, columns []column) {
	own := columnsOf(d, "")
	list, by := []string{key + " AS k"}, key
	columns = append(columns, column{name: "k", kind: "key"})
	if g := a.of(own, "text", "bool"); g.name != "" && a.IntN(3) == 0 {
		list, by, columns = append(list, g.name+" AS g"), by+", "+g.name, append(columns, column{"g", g.kind, g.like})
	}
	for i := range 1 + a.IntN(3) {
		name := fmt.Sprintf("f%d", i)
		x := a.of(own, "number")
		if x.name == "" || a.IntN(3) == 0 {
			list, columns = append(list, "count(*) AS "+name), append(columns, column{name: name, kind: "number"})
			continue
		}
		list = append(list, fmt.Sprintf("%s(%s) AS %s", a.pick("sum", "avg", "max", "min", "count", "first", "median"), x.name, name))
		columns = append(columns, column{name, "number", x.like})
	}
	if t := a.of(own, "text"); t.name != "" && a.IntN(2) == 0 {
		list, columns = append(list, a.pick("max", "min", "mode", "any_value")+"("+t.name+") AS t"), append(columns, column{"t", "text", t.like})
	}
	where := ""
	if a.IntN(2) == 0 {
		where = " WHERE " + a.condition(own)
	}
	return fmt.Sprintf("(SELECT %s FROM %s%s GROUP BY %s) t", strings.Join(list, ", "), d.Name, where, by), columns
}

func (a asker) any(columns []column) column { return columns[a.IntN(len(columns))] }

// of gives a column of one of the kinds; an empty one if there is none.
func (a asker) of(columns []column, kinds ...string) column {
	var fit []column
	for _, c := range columns {
		if slices.Contains(kinds, c.kind) {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 {
		return column{}
	}
	return fit[a.IntN(len(fit))]
}

// condition is something that holds for some rows.
func (a asker) condition(columns []column) string {
	switch a.IntN(9) {
	case 0:
		return "(" + a.condition(columns) + " OR " + a.condition(columns) + ")"
	case 1:
		return "NOT (" + a.condition(columns) + ")"
	case 2:
		if k := a.of(columns, "key"); k.name != "" {
			d := a.protected()
			return fmt.Sprintf("%s %s (SELECT %s FROM %s WHERE %s)", k.name, a.pick("IN", "NOT IN"), a.keyOf(d), d.Name, a.condition(columnsOf(d, "")))
		}
	case 3:
		if x := a.of(columns, "number"); x.name != "" {
			d := a.protected()
			if y := a.of(columnsOf(d, ""), "number"); y.name != "" {
				return fmt.Sprintf("%s > (SELECT %s(%s) FROM %s)", x.name, a.pick("avg", "median"), y.name, d.Name)
			}
		}
	}
	c := a.any(columns)
	switch c.kind {
	case "bool":
		return a.pick(c.name, "NOT "+c.name, c.name+" IS NULL")
	case "date":
		return fmt.Sprintf("%s %s DATE '20%d-06-01'", c.name, a.pick("<", ">="), 10+a.IntN(6))
	case "number":
		most := 5.0
		if c.like.Bound != nil && c.like.Bound.Max != nil {
			most = *c.like.Bound.Max
		}
		return a.pick(
			fmt.Sprintf("%s <= %.2f", c.name, most*a.Float64()), fmt.Sprintf("%s > %.2f", c.name, most*a.Float64()),
			fmt.Sprintf("%s = %.0f", c.name, most), c.name+" IS NULL", c.name+" = 0", fmt.Sprintf("%s %% 2 = 0", c.name))
	case "text":
		value := fmt.Sprintf("'%c%d'", strings.TrimPrefix(strings.TrimPrefix(c.name, "a."), "b.")[0], a.IntN(5))
		return c.name + a.pick(" = ", " <> ", " < ") + value
	}
	return a.of(columns, "key").name + " IS NOT NULL"
}

// number is something to add up.
func (a asker) number(columns []column) string {
	x, y := a.of(columns, "number").name, a.of(columns, "number").name
	if x == "" {
		return "(" + a.condition(columns) + ")::INT"
	}
	switch a.IntN(10) {
	case 0:
		return fmt.Sprintf("%s * (%s)::INT", x, a.condition(columns))
	case 1:
		return fmt.Sprintf("CASE WHEN %s THEN %s ELSE 0 END", a.condition(columns), x)
	case 2:
		return "(" + a.condition(columns) + ")::INT"
	case 3:
		return fmt.Sprintf("%s %s %s", x, a.pick("+", "-", "*"), y)
	case 4:
		return a.pick("-"+x, "abs("+x+")", x+" - 1", "2 * "+x, "round("+x+")", "greatest("+x+", 0)", "coalesce("+x+", 1)", x+" / 3")
	}
	return x
}

func (a asker) cell(columns []column) string {
	cell := ""
	switch a.IntN(9) {
	case 0, 1:
		cell = "count(*)"
	case 2:
		cell = "count(" + a.any(columns).name + ")"
	case 3:
		if cell = "count(*)"; a.of(columns, "key").name != "" {
			cell = "count(DISTINCT " + a.of(columns, "key").name + ")"
		}
	case 4:
		cell = "avg(" + a.number(columns) + ")"
	case 5:
		cell = a.pick("stddev", "var_pop") + "(" + a.number(columns) + ")"
	case 6:
		cell = "corr(" + a.number(columns) + ", " + a.number(columns) + ")"
	case 7:
		cell = a.pick("median(%s)", "quantile_cont(%s, 0.9)", "quantile_disc(%s, 0.25)")
		cell = fmt.Sprintf(cell, a.number(columns))
	default:
		cell = "sum(" + a.number(columns) + ")"
	}
	if a.IntN(5) == 0 {
		cell += " FILTER (WHERE " + a.condition(columns) + ")"
	}
	return cell
}

func (a asker) group(columns []column) string {
	c := a.any(columns)
	switch {
	case a.IntN(6) == 0:
		return "CASE WHEN " + a.condition(columns) + " THEN 'yes' ELSE 'no' END"
	case a.IntN(6) == 0:
		return "(" + a.condition(columns) + ")"
	case c.kind == "key":
		return a.pick("1 + 1", "("+a.condition(columns)+")")
	case c.kind == "number":
		return a.pick(c.name, fmt.Sprintf("%s // 100", c.name))
	case c.kind == "date":
		return a.pick("year("+c.name+")", "month("+c.name+")")
	}
	return c.name
}

// question makes a question.
func (a asker) question() question {
	var q question
	var columns []column
	q.From, columns = a.source()
	for range a.IntN(3) {
		q.Where = append(q.Where, a.condition(columns))
	}
	for range a.IntN(3) {
		if g := a.group(columns); !slices.Contains(q.Groups, g) && g != "1 + 1" {
			q.Groups = append(q.Groups, g)
		}
	}
	for range 1 + a.IntN(3) {
		q.Cells = append(q.Cells, a.cell(columns))
	}
	if len(q.Groups) > 0 {
		switch a.IntN(8) {
		case 0:
			q.Having = a.cell(columns) + " > 5"
		case 1:
			q.Tail = " ORDER BY " + a.cell(columns) + " DESC LIMIT 3"
		}
	}
	return q
}

// story makes one to six questions. Later ones are often earlier ones with something changed, or asked again.
func (a asker) story() []question {
	list := []question{a.question()}
	for range a.IntN(6) {
		q := list[a.IntN(len(list))]
		columns := a.columnsIn(q.From)
		switch a.IntN(4) {
		case 0: // again
		case 1:
			if columns != nil {
				q.Where = append(slices.Clone(q.Where), a.condition(columns))
				break
			}
			q = a.question()
		case 2:
			if columns != nil {
				q.Cells = append(slices.Clone(q.Cells), a.cell(columns))
				break
			}
			q = a.question()
		default:
			q = a.question()
		}
		list = append(list, q)
	}
	return list
}

// columnsIn are the columns of a bare table; nil for other sources.
func (a asker) columnsIn(from string) []column {
	for _, d := range a.family.tables {
		if d.Name == from {
			return columnsOf(d, "")
		}
	}
	return nil
}
