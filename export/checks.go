package export

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"weir/export/guard"
)

// The checks E1 to E5 of one cell, and how their evidence is read.

// failedCheck names the first check that the cell fails, for any of its unit keys.
func (j *judging) failedCheck(i int, c guard.Cell) (string, error) {
	for key := range j.release.Keys {
		bounded, err := j.bounded(i, key, c)
		if err != nil {
			return "", err
		}
		if !bounded {
			units, err := j.cellNumber("n", i, key)
			if err != nil {
				return "", err
			}
			if !j.enough(units) {
				return "E2", nil
			}
		}
		if c.Dominated() && !bounded {
			dominated, err := j.dominated(i, key)
			if err != nil || dominated {
				return "E3", err
			}
		}
		if c.Kind == guard.Quantile {
			lonely, err := j.lonelySide(i, key, c)
			if err != nil || lonely {
				return "E2", err
			}
		}
		if c.Conditional {
			outside, err := j.cellNumber("z", i, key)
			if err != nil {
				return "", err
			}
			switch {
			case outside == 0 && c.Secret:
				return "E4", nil // it would be known of everybody in the group
			case outside != 0:
				if !j.enough(outside) {
					return "E5", nil
				}
			}
		}
	}
	if c.Alike {
		alike, ok := j.value(fmt.Sprintf("alike%d", i)).(bool)
		if !ok {
			return "", fmt.Errorf("evidence alike%d is missing", i)
		}
		if alike {
			return "E4", nil
		}
	}
	return "", nil
}

// enough reports whether units reach the threshold.
func (j *judging) enough(units float64) bool { return units >= float64(j.rules.K) }

// bounded reports whether the quick query's bounds settle E2 and E3: where the units' contributions add up to more
// than k-1 times the greatest, k units at least contribute; and if E3 holds even with a second unit as great as the
// greatest, it holds. Of an aggregate whose NULLs were not set apart there must have been none, and of two arguments the bounds
// say nothing of each.
func (j *judging) bounded(i, key int, c guard.Cell) (bool, error) {
	if two := c.Kind == guard.Moment && len(c.Terms) > 1; two || !j.bounds || !c.Dominated() || j.value(fmt.Sprintf("u%d_%d", i, key)) != nil {
		return false, nil
	}
	var x [4]float64
	for n, name := range []string{fmt.Sprintf("t%d_%d", i, key), fmt.Sprintf("s%d_%d", i, key), fmt.Sprintf("b%d", i), fmt.Sprintf("n%d", key)} {
		var err error
		if x[n], err = j.read(name); err != nil {
			return false, err
		}
	}
	greatest, total, rows, units := x[0], x[1], x[2], x[3]
	whole := !c.Whole || rows == units
	return whole && !j.dominates(greatest, greatest, total) && greatest > 0 && total > float64(j.rules.K-1)*greatest && !math.IsInf(total, 0), nil
}

// dominates is the p% rule and the (2, share) rule: neither may the second largest unit be able to estimate the
// largest to within p per cent, nor may two units make up more than the share (Hundepool et al., Statistical
// Disclosure Control, 2012, ch. 4).
func (j *judging) dominates(greatest, second, total float64) bool {
	rest := total - greatest - second
	return rest < j.rules.DominanceP/100*greatest || greatest+second > j.rules.DominanceShare/100*total
}

// dominated holds a cell's units of one key to the dominance rules.
func (j *judging) dominated(i, key int) (bool, error) {
	var x [3]float64
	for n, name := range []string{"t", "u", "s"} {
		if column, ok := j.index[fmt.Sprintf("%s%d_%d", name, i, key)]; ok && j.current[column] == nil {
			if name != "u" { // not even one contribution is a number
				return true, nil
			}
			continue // there is no second one
		}
		v, err := j.cellNumber(name, i, key)
		if err != nil {
			return true, err
		}
		x[n] = v
	}
	greatest, second, total := x[0], x[1], x[2]
	if math.IsNaN(total) || math.IsInf(total, 0) {
		return true, nil
	}
	return j.dominates(greatest, second, total), nil
}

// lonelySide reports whether fewer than k units can be shown to lie on one side of a quantile. With at most m
// rows a unit, r rows belong to at least r/m units.
func (j *judging) lonelySide(i, key int, c guard.Cell) (bool, error) {
	rows, err := j.number("b", i)
	if err != nil {
		return true, err
	}
	most := 1.0
	if !c.Single {
		if most, err = j.cellNumber("rr", i, key); err != nil {
			return true, err
		}
	}
	side := math.Floor(math.Min(c.Fraction, 1-c.Fraction) * (rows - 1))
	return side/most < float64(j.rules.K), nil
}

// complete looks whether the groups and the values are there at all.
func (j *judging) complete() error {
	for i := range j.release.Groups {
		if _, ok := j.index["g"+strconv.Itoa(i)]; !ok {
			return fmt.Errorf("group %d is missing", i)
		}
	}
	for i := range j.release.Cells {
		if _, ok := j.index["v"+strconv.Itoa(i)]; !ok {
			return fmt.Errorf("value %d is missing", i)
		}
	}
	return nil
}

func (j *judging) withhold(check string) {
	j.check.Withheld[check]++
	j.withheld = true
}

// leftOut notes that groups were left out for E1. The worker did so by itself and does not say how many.
func (j *judging) leftOut() {
	j.check.Withheld["E1"] = 1
	j.withheld = true
}

func (j *judging) value(name string) any {
	i, ok := j.index[name]
	if !ok {
		return nil
	}
	return j.current[i]
}

// number reads a column of evidence. Evidence that is missing or NULL is an error, and an error releases nothing.
func (j *judging) number(prefix string, i int) (float64, error) {
	return j.read(prefix + strconv.Itoa(i))
}

func (j *judging) cellNumber(prefix string, i, key int) (float64, error) {
	return j.read(prefix + strconv.Itoa(i) + "_" + strconv.Itoa(key))
}

func (j *judging) read(name string) (float64, error) {
	i, ok := j.index[name]
	if !ok {
		return 0, fmt.Errorf("evidence %s is missing", name)
	}
	n, ok := j.current[i].(json.Number)
	if !ok {
		return 0, fmt.Errorf("evidence %s is no number", name)
	}
	f, err := n.Float64()
	if err == nil && (math.IsNaN(f) || math.IsInf(f, 0)) { // which would pass any comparison
		err = fmt.Errorf("evidence %s is not finite", name)
	}
	return f, err
}
