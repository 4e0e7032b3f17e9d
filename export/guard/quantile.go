package guard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"weir/internal/problem"
)

// quantiles takes quantile_cont(x, [0.1, 0.9]) apart into the quantiles that it lists. It gives nil where the aggregate is
// something else.
func (c *checker) quantiles(e *expr, in *relation) ([]cell, error) {
	each, err := oneQuantileEach(e)
	var cells []cell
	for _, one := range each {
		a, err := c.cell(one, in)
		if err != nil {
			return nil, err
		}
		cells = append(cells, a)
	}
	return cells, err
}

// oneQuantileEach gives an aggregate for each quantile of a list; nil where the aggregate is something else.
func oneQuantileEach(e *expr) ([]*expr, error) {
	var q quantileData
	if e.Class != "BOUND_AGGREGATE" || !strings.HasPrefix(e.Name, "quantile") || e.Return.ID != "LIST" || e.Return.Info == nil || e.Return.Info.Child == nil ||
		decodeStrict(e.Function, &q) != nil {
		return nil, nil
	}
	var list []*expr
	for _, fraction := range q.Quantiles {
		data, err := json.Marshal(quantileData{Quantiles: []constant{fraction}, Order: []uint64{0}, Descending: q.Descending})
		if err != nil {
			return nil, problem.New("guard.quantile").Because(err)
		}
		one := *e
		one.Function, one.Return = data, *e.Return.Info.Child
		list = append(list, &one)
	}
	return list, nil
}

// boundConstant gives the constant argument that the engine took out of an aggregate's arguments when it bound it.
func boundConstant(e *expr) (string, error) {
	var joined struct {
		Separator *string `json:"separator"`
	}
	if decodeStrict(e.Function, &joined) == nil && joined.Separator != nil {
		return quoteText(*joined.Separator), nil
	}
	var fractions struct {
		Quantiles []jsontext.Value `json:"quantiles"`
	}
	var list []string
	notNumber := func(q jsontext.Value) bool { return q.Kind() != jsontext.KindNumber }
	if decodeStrict(e.Function, &fractions) == nil && !slices.ContainsFunc(fractions.Quantiles, notNumber) {
		for _, q := range fractions.Quantiles {
			list = append(list, q.String())
		}
		return oneOrList(list, e.Return)
	}
	var q quantileData
	if err := decodeStrict(e.Function, &q); err != nil {
		return "", fmt.Errorf("an aggregate has an argument of unknown form")
	}
	for _, fraction := range q.Quantiles {
		text, err := fraction.text()
		if err != nil {
			return "", err
		}
		if q.Descending {
			text = "-" + strings.TrimPrefix(text, "-")
		}
		list = append(list, text)
	}
	return oneOrList(list, e.Return)
}

// oneOrList writes what a quantile is asked for: a list gives a list.
func oneOrList(list []string, of typ) (string, error) {
	switch {
	case of.ID == "LIST":
		return "[" + strings.Join(list, ", ") + "]", nil
	case len(list) == 1:
		return list[0], nil
	}
	return "", fmt.Errorf("a quantile has %d fractions", len(list))
}

// quantileOf reads a bound quantile's fraction: the engine took it out of the arguments.
func quantileOf(e *expr) (string, error) {
	var q quantileData
	if err := decodeStrict(e.Function, &q); err != nil || len(q.Quantiles) != 1 || q.Descending {
		return "", problem.New("guard.quantile").Because(err)
	}
	return q.Quantiles[0].text()
}
