package sandbox

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/problem"
	"weir/policy"
)

// What a manifest states for the disclosure model: what is public, what units count for, how they are protected. A
// statement that cannot be meant is refused here; whether one is right is for those who review it.

// maxValues is the most values that a column may list.
const maxValues = 10_000

// maxCount is the most that may be stated of rows of a unit, or of units.
const maxCount = 1_000_000_000_000

// checkDisclosure holds what one column states to its rules, and brings its values to the engine's spelling.
func checkDisclosure(c *policy.Column) *problem.Problem {
	if c.Public && c.Class != policy.Quasi && c.Class != policy.OpenClass {
		return problem.New("intake.public-class", "name", plain(c.Name), "class", string(c.Class))
	}
	if c.Cap != 0 && (!c.IsMeasure() || !(c.Cap > 0) || math.IsInf(c.Cap, 0)) {
		return problem.New("intake.bad-cap", "name", plain(c.Name))
	}
	return checkValues(c)
}

func checkValues(c *policy.Column) *problem.Problem {
	if c.Values == nil {
		return nil
	}
	if c.Class == policy.Identifier || c.Class == policy.FreeText {
		return problem.New("intake.values-class", "name", plain(c.Name), "class", string(c.Class))
	}
	if len(c.Values) == 0 || len(c.Values) > maxValues {
		return problem.New("intake.values-number", "name", plain(c.Name), "most", strconv.Itoa(maxValues))
	}
	seen := map[string]bool{}
	for i, written := range c.Values {
		value, ok := normalizeValue(c.Type, written)
		if !ok || seen[value] || !within(c.Bound, value) {
			return problem.New("intake.bad-value", "name", plain(c.Name), "number", strconv.Itoa(i+1), "type", c.Type)
		}
		c.Values[i], seen[value] = value, true
	}
	return nil
}

var (
	wholeForm   = regexp.MustCompile(`^[+-]?[0-9]{1,39}$`)
	decimalForm = regexp.MustCompile(`^([+-]?[0-9]{1,38})(?:\.([0-9]{1,38}))?$`)
	decimalType = regexp.MustCompile(`^DECIMAL\(([0-9]+),([0-9]+)\)$`)
)

// wholeBits is the width of each type of whole numbers, and unsigned ones below zero.
var wholeBits = map[string]int{
	"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128,
	"UTINYINT": -8, "USMALLINT": -16, "UINTEGER": -32, "UBIGINT": -64,
}

// normalizeValue gives a listed value as the engine writes it, and false for one that is none of the type. Only types
// whose values are equal or not, without rounding, can be listed.
func normalizeValue(typeName, written string) (string, bool) {
	bits, whole := wholeBits[typeName]
	switch {
	case typeName == "VARCHAR":
		return written, written != "" && strings.IndexFunc(written, func(r rune) bool { return r < ' ' }) < 0
	case typeName == "BOOLEAN":
		return written, written == "true" || written == "false"
	case typeName == "DATE":
		day, err := time.Parse(time.DateOnly, written)
		return written, err == nil && day.Year() > 0
	case whole:
		return normalizeWhole(bits, written)
	case decimalType.MatchString(typeName):
		return normalizeDecimal(typeName, written)
	}
	return "", false
}

func normalizeWhole(bits int, written string) (string, bool) {
	n, ok := new(big.Int).SetString(written, 10)
	if !ok || !wholeForm.MatchString(written) {
		return "", false
	}
	least, beyond := new(big.Int), new(big.Int)
	if bits < 0 {
		beyond.Lsh(big.NewInt(1), uint(-bits))
	} else {
		beyond.Lsh(big.NewInt(1), uint(bits-1))
		least.Neg(beyond)
	}
	return n.String(), n.Cmp(least) >= 0 && n.Cmp(beyond) < 0
}

func normalizeDecimal(typeName, written string) (string, bool) {
	form, digits := decimalForm.FindStringSubmatch(written), decimalType.FindStringSubmatch(typeName)
	if form == nil {
		return "", false
	}
	width, _ := strconv.Atoi(digits[1])
	scale, _ := strconv.Atoi(digits[2])
	fraction := strings.TrimRight(form[2], "0")
	if len(fraction) > scale {
		return "", false
	}
	unscaled, _ := new(big.Int).SetString(form[1]+fraction+strings.Repeat("0", scale-len(fraction)), 10)
	beyond := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(width)), nil)
	return new(big.Rat).SetFrac(unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale),
		unscaled.CmpAbs(beyond) < 0
}

// within reports whether a listed number is one that the bounds allow.
func within(b *policy.Bounds, value string) bool {
	if b == nil {
		return true
	}
	number, err := strconv.ParseFloat(value, 64)
	return err == nil && (b.Min == nil || number >= *b.Min) && (b.Max == nil || number <= *b.Max)
}

// checkDisclosure holds what the manifest states of its units and of all rows to the rules, and states what is left out.
func (m *manifest) checkDisclosure() *problem.Problem {
	if m.Open {
		return m.checkOpen()
	}
	switch m.Membership {
	case "":
		m.Membership = policy.MembershipSecret
	case policy.MembershipSecret, policy.MembershipPublic:
	default:
		return problem.New("intake.bad-membership", "name", plain(string(m.Membership)))
	}
	if m.Frame != "" && (m.Frame == m.Name || !datasetName.MatchString(m.Frame)) {
		return problem.New("intake.bad-frame", "name", plain(m.Frame))
	}
	if m.Size < 0 || m.Size > maxCount {
		return problem.New("intake.bad-size", "most", fmt.Sprint(maxCount))
	}
	m.Size = policy.RoundedDown(m.Size)
	return m.checkProtection()
}

// checkOpen refuses to believe that nobody is protected where a column says the contrary.
func (m *manifest) checkOpen() *problem.Problem {
	if m.Membership != "" || m.Frame != "" || m.Size != 0 {
		return problem.New("intake.open-units")
	}
	for _, c := range m.Columns {
		if c.Class == policy.Identifier || c.Class == policy.Sensitive {
			return problem.New("intake.open-column", "name", plain(c.Name), "class", string(c.Class))
		}
	}
	return nil
}

func (m *manifest) checkProtection() *problem.Problem {
	domains, whole := map[string]policy.Protection{}, false
	for i := range m.Units {
		u := &m.Units[i]
		u.Protect = u.Protection()
		if !slices.Contains(policy.Protections, u.Protect) {
			return problem.New("intake.bad-protect", "name", plain(u.Key), "protect", plain(string(u.Protect)))
		}
		if u.Rows < 0 || u.Rows > maxCount {
			return problem.New("intake.bad-rows", "name", plain(u.Key), "most", fmt.Sprint(maxCount))
		}
		if before, ok := domains[u.Domain]; ok && before != u.Protect {
			return problem.New("intake.protect-differs", "domain", u.Domain)
		}
		domains[u.Domain], whole = u.Protect, whole || u.Protect == policy.Protected
	}
	sensitive := slices.IndexFunc(m.Columns, func(c policy.Column) bool { return c.Class == policy.Sensitive })
	if !whole && sensitive >= 0 {
		return problem.New("intake.protect-sensitive", "name", plain(m.Columns[sensitive].Name))
	}
	return nil
}
