package guard

import "strings"

// A lambda is an expression over the members of one list, and over what stands around it: pure, and of one row. The
// plan keeps it with the function that it is given to. In it, the parameters are the first columns, the last
// parameter first; then come the values from around it, which are the function's further arguments.

// lambdas are the functions that take one.
var lambdas = map[string]bool{
	"list_transform": true, "list_apply": true, "array_transform": true, "array_apply": true, "apply": true,
	"list_filter": true, "array_filter": true, "filter": true, "list_reduce": true, "array_reduce": true, "reduce": true,
}

type lambdaData struct {
	Return     typ   `json:"return_type"`
	Body       *expr `json:"lambda_expr"`
	HasIndex   bool  `json:"has_index"`
	HasInitial bool  `json:"has_initial"`
}

func (c *checker) lambdaCall(e *expr, args []value, in *relation) (string, error) {
	var data lambdaData
	err := decodeStrict(e.Function, &data)
	if err == nil {
		err = data.Body.whole()
	}
	given := 1
	if data.HasInitial {
		given = 2
	}
	if err != nil || len(args) < given || args[0].typ.Info == nil || args[0].typ.Info.Child == nil {
		return "", c.denyBecause(e, err, "guard.function", "function", e.Name)
	}
	types := []typ{*args[0].typ.Info.Child}
	if strings.HasSuffix(e.Name, "reduce") {
		types = []typ{e.Return, types[0]}
	}
	if data.HasIndex {
		types = append(types, typ{ID: "BIGINT"})
	}
	inside := &relation{kind: in.kind}
	names := make([]string, len(types))
	for i := range types {
		last := len(types) - 1 - i
		names[last] = c.alias()
		inside.cols = append(inside.cols, derived(names[last], types[last], "lambda", args[0]))
	}
	inside.cols = append(inside.cols, args[given:]...)
	body, err := c.expr(data.Body, inside)
	if err != nil {
		return "", err
	}
	list := append(sqlOf(args[:1]), "lambda "+strings.Join(names, ", ")+": "+body.sql)
	return quoteName(e.Name) + "(" + strings.Join(append(list, sqlOf(args[1:given])...), ", ") + ")", nil
}
