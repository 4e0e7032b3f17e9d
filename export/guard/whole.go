package guard

import (
	"fmt"
	"slices"
)

// A plan comes from a process that reads people's text, so it may have holes where the engine leaves none. They are
// found here, before any rule looks at the plan; a rule may take it that what its operator must have is there.

func (n *node) whole() error {
	if n == nil {
		return fmt.Errorf("an operator is missing")
	}
	for _, child := range n.Children {
		if err := child.whole(); err != nil {
			return err
		}
	}
	for _, list := range append(slices.Clone(n.Expressions.rows), n.Expressions.list, n.Duplicate, n.Groups, n.Targets, n.KeyTargets) {
		if err := wholeList(list); err != nil {
			return err
		}
	}
	for _, c := range n.Conditions {
		if err := wholeList([]*expr{c.Left, c.Right}); err != nil {
			return err
		}
	}
	if err := wholeOrders(n.Orders); err != nil {
		return err
	}
	if n.OrderBy != nil {
		if err := wholeOrders(n.OrderBy.Orders); err != nil {
			return err
		}
	}
	for _, types := range [][]typ{n.Returned, n.ExprTypes, n.ChunkTypes} {
		for _, t := range types {
			if err := t.whole(); err != nil {
				return err
			}
		}
	}
	for _, p := range n.Parameters {
		if err := p.Type.whole(); err != nil {
			return err
		}
	}
	return wholeList(present(n.Condition, n.Predicate))
}

func (t typ) whole() error {
	if t.ID == "DECIMAL" && (t.Info == nil || t.Info.Width < 1 || t.Info.Width > 38 || t.Info.Scale < 0 || t.Info.Scale > t.Info.Width) {
		return fmt.Errorf("a decimal type has no width")
	}
	if t.Info == nil {
		return nil
	}
	for _, f := range t.Info.Fields {
		if err := f.Type.whole(); err != nil {
			return err
		}
	}
	if t.Info.Child != nil {
		return t.Info.Child.whole()
	}
	return nil
}

func wholeList(list []*expr) error {
	for _, e := range list {
		if err := e.whole(); err != nil {
			return err
		}
	}
	return nil
}

func wholeOrders(orders []order) error {
	for _, o := range orders {
		if err := o.Expression.whole(); err != nil {
			return err
		}
	}
	return nil
}

func (e *expr) whole() error {
	if e == nil {
		return fmt.Errorf("an expression is missing")
	}
	for _, needed := range e.needs() {
		if needed == nil {
			return fmt.Errorf("an expression is missing")
		}
	}
	// Each part once: looking at one twice a level takes 2^n steps for n levels.
	parts := present(e.Child, e.Left, e.Right, e.Input, e.Lower, e.Upper, e.Else, e.Filter, e.Filters, e.StartExpr, e.EndExpr,
		e.OffsetExpr, e.DefaultExpr)
	for _, list := range [][]*expr{parts, e.Children, e.Partitions, e.Captures} {
		if err := wholeList(list); err != nil {
			return err
		}
	}
	for _, c := range e.Checks {
		if err := wholeList([]*expr{c.When, c.Then}); err != nil {
			return err
		}
	}
	for _, orders := range [][]order{e.Orders, e.ArgOrders} {
		if err := wholeOrders(orders); err != nil {
			return err
		}
	}
	if e.OrderBys != nil {
		if err := wholeOrders(e.OrderBys.Orders); err != nil {
			return err
		}
	}
	if e.Class == "BOUND_CONSTANT" && e.Value == nil {
		return fmt.Errorf("a constant has no value")
	}
	if e.Value != nil {
		if err := e.Value.Type.whole(); err != nil {
			return err
		}
	}
	return e.Return.whole()
}

// needs are the parts without which no rule can read an expression of its class.
func (e *expr) needs() []*expr {
	switch e.Class {
	case "BOUND_CAST", "BOUND_UNNEST":
		return []*expr{e.Child}
	case "BOUND_COMPARISON":
		return []*expr{e.Left, e.Right}
	case "BOUND_BETWEEN":
		return []*expr{e.Input, e.Lower, e.Upper}
	case "BOUND_CASE":
		return []*expr{e.Else}
	}
	return nil
}
