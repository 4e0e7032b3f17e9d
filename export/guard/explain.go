package guard

import "strings"

// Typed is one operator of a checked plan, for people: what it is, and what type its relation has. It never holds
// a count, an estimate or anything else that is known from data.
type Typed struct {
	Operator string   `json:"operator"`
	Type     string   `json:"type"`
	Units    []string `json:"units,omitempty"`   // domains of the unit keys carried along
	Columns  []string `json:"columns,omitempty"` // name and what may be done with it
	Children []*Typed `json:"children,omitempty"`
}

func (t *Typed) describe(r *relation) {
	t.Type = r.kind.String()
	for _, k := range r.keys {
		t.Units = append(t.Units, k.domain)
	}
	for _, v := range r.cols {
		t.Columns = append(t.Columns, v.describe())
	}
}

// String draws the tree, an operator a line, indented under what reads it.
func (t *Typed) String() string {
	var b strings.Builder
	t.draw(&b, 0)
	return b.String()
}

func (t *Typed) draw(b *strings.Builder, depth int) {
	b.WriteString(strings.Repeat("  ", depth) + t.Operator + " : " + t.Type)
	if len(t.Units) > 0 {
		b.WriteString("(" + strings.Join(t.Units, ", ") + ")")
	}
	if len(t.Columns) > 0 {
		b.WriteString(" [" + strings.Join(t.Columns, ", ") + "]")
	}
	b.WriteByte('\n')
	for _, child := range t.Children {
		child.draw(b, depth+1)
	}
}
