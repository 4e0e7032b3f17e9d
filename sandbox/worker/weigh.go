package worker

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"

	"weir/sandbox/wire"
)

// rowsAtOnce is about how many rows are grouped by their unit at a time, so that any number fits into memory.
const rowsAtOnce = 4_000_000

// figure is something that the rows of a unit add up to: their number, or the sizes of a measure's values.
type figure struct {
	measure string // empty: the number of rows
	column  wire.IntakeColumn
	cap     float64 // that the manifest states, or an earlier version was approved with; 0: none
	held    bool    // it is an earlier version's
	total   string  // SQL of a unit's total, a DOUBLE that is not below the true one by more than its rounding
}

// weighUnits finds for each unit key how much one unit has at most, chooses the caps that the manifest does not state, and
// writes the weights that hold each unit to its caps.
//
// A unit's weight is min(1, cap / total of its rows), and scales each of its rows. So any subset of its rows adds at
// most the cap, whatever a question selects, and a unit within its cap is not touched. Units of which only the size is
// protected, or nothing, are left whole.
func weighUnits(ctx context.Context, conn *sql.Conn, request wire.Intake, rows int64) ([]wire.TakenUnit, error) {
	parts := rows/rowsAtOnce + 1
	found := make([]wire.TakenUnit, len(request.Units))
	for key, unit := range request.Units {
		figures := figuresOf(request, unit)
		tallies, err := tally(ctx, conn, key, parts, figures)
		if err != nil {
			return nil, err
		}
		u := wire.TakenUnit{Units: tallies[0].all(), Totals: map[string]float64{}, Caps: map[string]wire.Cap{}}
		for i, f := range figures {
			held := tallies[i].cap(f)
			if held.Beyond > 0 && unit.Protect == wire.Protected {
				if err := writeWeights(ctx, conn, key, parts, f, held.Most); err != nil {
					return nil, err
				}
			}
			switch greatest := tallies[i].greatest; {
			case f.measure == "":
				u.Most, u.Rows = int64(greatest), held
			default:
				u.Caps[f.measure] = held
				if total := greatest * roundedUp; f.column.Total && !math.IsInf(total, 0) && !math.IsNaN(total) {
					u.Totals[f.measure] = total
				}
			}
		}
		found[key] = u
	}
	return found, nil
}

func figuresOf(request wire.Intake, unit wire.IntakeUnit) []figure {
	rows := figure{total: "CAST(count(*) AS DOUBLE)", cap: float64(unit.Rows)}
	figures := []figure{rows.orHeld(unit)}
	for _, c := range request.Columns {
		if c.Measure {
			f := figure{measure: c.Name, column: c, cap: c.Cap, total: totalOf(c)}
			figures = append(figures, f.orHeld(unit))
		}
	}
	return figures
}

// orHeld takes the cap of an earlier version where the manifest states none.
func (f figure) orHeld(unit wire.IntakeUnit) figure {
	if f.cap == 0 {
		f.cap = unit.Held[f.measure]
		f.held = f.cap > 0
	}
	return f
}

// totalOf adds up the sizes of a unit's values. Whole numbers and short decimals are added up exactly; of others the total
// is raised by more than rounding can have taken from it.
func totalOf(c wire.IntakeColumn) string {
	sized := "abs(CAST(" + quote(c.Name) + " AS DOUBLE))"
	switch limit, whole := integers[c.Type]; {
	case whole && limit.max.BitLen() < 64:
		return "CAST(COALESCE(sum(abs(CAST(" + quote(c.Name) + " AS HUGEINT))), 0) AS DOUBLE)"
	case strings.HasPrefix(c.Type, "DECIMAL("):
		if width, _ := precision(c.Type); width <= 18 {
			return "CAST(COALESCE(sum(abs(" + quote(c.Name) + ")), 0) AS DOUBLE)"
		}
	}
	return fmt.Sprintf("COALESCE(sum(%s), 0) * %v", sized, roundedUp)
}

// roundedUp keeps a total of rounded numbers from being less than the true one.
const roundedUp = 1 + 1e-9

// nothing is the step of a unit that has nothing of a figure.
const nothing = -1100

// tallied says how the units of a key are spread over steps of a figure. Step n is all totals above 2^(n-1) and up to 2^n; where
// a cap is given, there are but step 0, within it, and step 1, beyond.
type tallied struct {
	units    map[int]int64
	greatest float64
}

// tally counts the units of a key in each step of each figure.
func tally(ctx context.Context, conn *sql.Conn, key int, parts int64, figures []figure) ([]tallied, error) {
	var totals, steps, values, places []string
	for i, f := range figures {
		totals = append(totals, fmt.Sprintf("%s AS v%d", f.total, i))
		values = append(values, fmt.Sprintf("v%d", i))
		places = append(places, fmt.Sprint(i))
		step := fmt.Sprintf("CASE WHEN v%[1]d > 0 THEN CAST(ceil(log2(v%[1]d)) AS INTEGER) ELSE %[2]d END", i, nothing)
		if f.cap > 0 {
			step = fmt.Sprintf("CAST(v%d > CAST(%v AS DOUBLE) AS INTEGER)", i, f.cap)
		}
		steps = append(steps, step)
	}
	query := fmt.Sprintf(`SELECT place, step, count(*), max(value) FROM (
		SELECT unnest([%s]) AS place, unnest([%s]) AS step, unnest([%s]) AS value
		FROM (SELECT %s FROM data WHERE __unit_%[5]d %% %[6]d = ? GROUP BY __unit_%[5]d)) GROUP BY place, step`,
		strings.Join(places, ", "), strings.Join(steps, ", "), strings.Join(values, ", "), strings.Join(totals, ", "), key, parts)
	found := make([]tallied, len(figures))
	for i := range found {
		found[i].units = map[int]int64{}
	}
	for part := range parts {
		if err := tallyPart(ctx, conn, query, part, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func tallyPart(ctx context.Context, conn *sql.Conn, query string, part int64, found []tallied) error {
	rows, err := conn.QueryContext(ctx, query, part)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var place, step int
		var units int64
		var greatest float64
		if err := rows.Scan(&place, &step, &units, &greatest); err != nil {
			return err
		}
		found[place].units[step] += units
		found[place].greatest = math.Max(found[place].greatest, greatest)
	}
	return rows.Err()
}

// cap gives the cap of a figure: the one that is given, or the power of two that 99 of 100 units keep to.
func (t tallied) cap(f figure) wire.Cap {
	all, within := t.all(), int64(0)
	if f.cap > 0 {
		return wire.Cap{Most: f.cap, Beyond: share(t.units[1], all), Proposed: f.held}
	}
	steps := make([]int, 0, len(t.units))
	for step := range t.units {
		steps = append(steps, step)
	}
	slices.Sort(steps)
	chosen := nothing
	for _, step := range steps {
		chosen, within = step, within+t.units[step]
		if within*100 >= all*99 {
			break
		}
	}
	if chosen == nothing { // so have at least 99 of 100 units
		return wire.Cap{Most: 1, Beyond: share(t.beyond(0), all), Proposed: true}
	}
	return wire.Cap{Most: math.Ldexp(1, chosen), Beyond: share(t.beyond(chosen), all), Proposed: true}
}

func (t tallied) all() (units int64) {
	for _, n := range t.units {
		units += n
	}
	return units
}

func (t tallied) beyond(step int) (units int64) {
	for s, n := range t.units {
		if s > step {
			units += n
		}
	}
	return units
}

// share is a part of a whole in per cent, rounded up.
func share(part, whole int64) int { return int((part*100 + whole - 1) / whole) }

// writeWeights adds a column with the weights of rows to the data. A weight has eight digits and is rounded down, so that
// weighted decimals are decimals and the cap holds exactly.
func writeWeights(ctx context.Context, conn *sql.Conn, key int, parts int64, f figure, most float64) error {
	e := &engine{conn: conn}
	column := quote(wire.WeightColumn(key, f.measure))
	if err := e.run(ctx, "ALTER TABLE data ADD COLUMN "+column+" DECIMAL(9,8) DEFAULT 1"); err != nil {
		return err
	}
	update := fmt.Sprintf(`UPDATE data SET %[1]s = beyond.weight FROM (
		SELECT __unit_%[2]d AS unit, CAST(floor(CAST(%[3]v AS DOUBLE) / (%[4]s * %[5]v) * 1e8) / 1e8 AS DECIMAL(9,8)) AS weight
		FROM data WHERE __unit_%[2]d %% %[6]d = ? GROUP BY __unit_%[2]d HAVING %[4]s > CAST(%[3]v AS DOUBLE)) AS beyond
		WHERE data.__unit_%[2]d = beyond.unit`, column, key, most, f.total, roundedUp, parts)
	for part := range parts {
		if _, err := conn.ExecContext(ctx, update, part); err != nil {
			return err
		}
	}
	return nil
}

// fullColumns lists those of the measures that no row leaves out or has a zero in.
func fullColumns(ctx context.Context, conn *sql.Conn, request wire.Intake) (full []string, err error) {
	for _, c := range request.Columns {
		if !c.Total {
			continue
		}
		var every bool
		query := fmt.Sprintf("SELECT count(*) FILTER (WHERE %s <> 0) = count(*) FROM data", quote(c.Name))
		if err := conn.QueryRowContext(ctx, query).Scan(&every); err != nil {
			return nil, err
		}
		if every {
			full = append(full, c.Name)
		}
	}
	return full, nil
}
