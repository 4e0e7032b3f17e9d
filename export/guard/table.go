package guard

import (
	"errors"
	"strings"

	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Table is a checked CREATE TABLE … AS: rows that stay in the grant's workspace, typed, with their hidden unit keys.
// Nothing of it is shown; what reads the table is typed and guarded like what reads a data set.
type Table struct {
	SQL     string         // makes the rows: a column for each of the data set's, and __unit_0, __unit_1, …
	Proofs  string         // brings one row of columns each of which must be true; empty where there is nothing to prove
	Dataset policy.Dataset // what the table is
	Data    []string       // data sets and tables that it reads
	// Constants must hold before anything is run; see constants.go.
	Constants Constants
}

// CheckTable types the rows of a table that is to be kept. Beside what no query may do, it refuses released figures,
// since a figure that nobody has seen yet is not the analyst's, and rows that a secret has chosen: whoever counts such
// rows later would ask about the secret, and it could not be seen.
func CheckTable(name, sql string, bound sandbox.Bound, schema []policy.Dataset, rules policy.Rules, mode policy.Mode) (*Table, error) {
	c := newChecker(sql, schema, rules, mode)
	t, err := c.table(name, bound, schema)
	var p *problem.Problem
	if errors.As(err, &p) && p.Status() < 500 {
		return nil, c.placed(p)
	}
	return t, err
}

func (c *checker) table(name string, bound sandbox.Bound, schema []policy.Dataset) (*Table, error) {
	last, names, err := c.typed(bound, schema)
	if err != nil {
		return nil, err
	}
	last.settle()
	switch {
	case len(c.program.Releases) > 0 || last.kind == released:
		return nil, c.deny(nil, "guard.table-released")
	case len(last.atoms) > 0:
		return nil, c.deny(nil, "guard.table-secret")
	case last.weighted || last.kind == protected && last.fansOut():
		// What multiplies rows alike here would not be known in the table, and a condition could choose by it later.
		return nil, c.deny(nil, "guard.fan-out")
	case last.lonely || len(names) != len(last.cols):
		return nil, c.deny(nil, "guard.table-columns")
	}
	t := &Table{Constants: c.program.Constants, Dataset: policy.Dataset{Name: name, Open: last.kind == openData}, Data: sorted(last.data)}
	var list []string
	for i, v := range last.cols {
		column, err := c.keptColumn(names[i], v, last)
		if err != nil {
			return nil, err
		}
		t.Dataset.Columns = append(t.Dataset.Columns, column)
		list = append(list, v.sql+" AS "+quoteName(names[i]))
	}
	for i, k := range last.keys {
		if k.nullable {
			return nil, c.deny(nil, "guard.table-columns")
		}
		unit := policy.Unit{Domain: k.domain}
		for n, v := range last.cols {
			if v.sort == keyValue && v.key == i {
				unit.Key = names[n]
			}
		}
		t.Dataset.Units = append(t.Dataset.Units, unit)
		list = append(list, k.sql+" AS "+quoteName(UnitColumn(i)))
	}
	t.SQL = "SELECT " + strings.Join(list, ", ") + " FROM " + last.from
	if len(last.where) > 0 {
		t.SQL += " WHERE " + strings.Join(last.where, " AND ")
	}
	t.SQL += last.tail
	if len(last.proofs) > 0 {
		t.Proofs = "SELECT " + strings.Join(last.proofs, ", ")
	}
	if len(t.SQL) > maxSQL {
		return nil, problem.New("guard.too-complex")
	}
	t.Dataset.Sources = distinct(c.program.Sources)
	return t, nil
}

// UnitColumn names the hidden column of a table or data set that holds the keyed hash of a row's unit.
func UnitColumn(i int) string { return "__unit_" + itoa(i) }

// HashColumn names the column beside it that holds the short hash.
func HashColumn(i int) string { return "__short_" + itoa(i) }

// keptColumn is what a column of the table may be used for from now on: never for more than before.
func (c *checker) keptColumn(name string, v value, in *relation) (policy.Column, error) {
	t, err := v.typ.sql()
	if err != nil || name != strings.TrimSpace(name) || strings.HasPrefix(name, "__") || strings.ContainsAny(name, `"()`) {
		return policy.Column{}, c.denyBecause(nil, err, "guard.table-columns")
	}
	column := policy.Column{Name: name, Type: t, Class: policy.Quasi, Present: v.present}
	secret := v.secret || v.sensitive || v.semi
	switch {
	case in.kind == openData:
		column.Class = policy.OpenClass
		return column, nil
	case v.name == "rowid" && v.sort == identifierValue:
		return column, c.deny(nil, "guard.table-columns")
	case v.sort == keyValue || v.sort == identifierValue:
		column.Class = policy.Identifier
		return column, nil
	case v.sort == textValue:
		column.Class = policy.FreeText
		return column, nil
	case secret && v.public && v.sort != measureValue:
		return column, c.deny(nil, "guard.table-secret") // what is public in it could not be told apart any more
	case v.secret || v.sensitive || v.semi && v.sort != measureValue:
		column.Class = policy.Sensitive
	case v.semi:
		column.Class = policy.Measure
	}
	if v.sort == measureValue {
		if _, bare := bareMeasure(v.poly); !bare { // x + 7 and x + 8 would each have noise of their own, and their mean less
			return column, c.deny(nil, "guard.table-measure", "column", name)
		}
		column.Bound = &policy.Bounds{}
		if within := v.poly.within(); within != nil {
			column.Bound = &policy.Bounds{Min: &within.Least, Max: &within.Most}
		}
		column.Origin = v.poly.origin()
	}
	return column, nil
}
