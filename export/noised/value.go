package noised

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// whole reads a whole number of 64 bits.
func whole(v any) (int64, error) {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			return 0, errors.New("no whole number")
		}
		return n, nil
	case int64:
		return v, nil
	case string:
		return whole(json.Number(v))
	}
	return 0, fmt.Errorf("a %T is no whole number", v)
}

// roundedDown cuts a number to its first two digits.
func roundedDown(n int64) int64 {
	step := int64(1)
	for n/step >= 100 {
		step *= 10
	}
	return n / step * step
}

// key names a group by its values.
func key(g group) string {
	text, err := json.Marshal(g)
	if err != nil || len(g) == 0 {
		return "[]"
	}
	return string(text)
}

// groupOf is the group that key named.
func groupOf(name string) (g group, err error) {
	d := json.NewDecoder(strings.NewReader(name))
	d.UseNumber()
	err = d.Decode(&g)
	return g, err
}

// valueOf is a value of a list as the engine would bring it.
func valueOf(text, sqlType string) any {
	switch {
	case sqlType == "BOOLEAN":
		return text == "true"
	case strings.Contains(sqlType, "INT") || strings.HasPrefix(sqlType, "DECIMAL") || sqlType == "DOUBLE" || sqlType == "FLOAT":
		return json.Number(text)
	}
	return text
}

func read(text []byte) (*answer, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	d.DisallowUnknownFields()
	var a answer
	if err := d.Decode(&a); err != nil || len(a.Groups) != len(a.Values) {
		return nil, fmt.Errorf("an answer that was kept cannot be read: %w", errors.Join(err))
	}
	return &a, nil
}

// sortGroups puts groups into the order of their values: numbers by size, everything else as text, NULL last.
func sortGroups(list []group) {
	slices.SortFunc(list, func(a, b group) int {
		for i := range a {
			if c := compare(a[i], b[i]); c != 0 {
				return c
			}
		}
		return 0
	})
}

func compare(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	x, isX := a.(json.Number)
	y, isY := b.(json.Number)
	if isX && isY {
		r, okX := new(big.Rat).SetString(x.String())
		s, okY := new(big.Rat).SetString(y.String())
		if okX && okY {
			return r.Cmp(s)
		}
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}
