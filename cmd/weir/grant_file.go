package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

// maxGrant is how large a grant's description may be, in bytes. A larger file is something else.
const maxGrant = 256 << 10

// fault is one thing that is wrong with a file, in both languages.
type fault struct{ english, chinese string }

func badGrant(cause error, faults ...fault) *problem.Problem {
	english, chinese := make([]string, len(faults)), make([]string, len(faults))
	for i, f := range faults {
		english[i], chinese[i] = f.english, f.chinese
	}
	return problem.New("cli.bad-grant").Say("faults", strings.Join(english, "; "), strings.Join(chinese, "；")).Because(cause)
}

// readGrant reads a grant in YAML or JSON. A field that is not known is an error: it may be a limit, mistyped. All that is
// wrong is told at once. A term may be given in days, which are those of the person's own zone: from the beginning of the
// one until the end of the other.
func readGrant(path string) (client.NewGrant, error) {
	var wanted client.NewGrant
	info, err := os.Stat(path)
	if err != nil {
		return wanted, problem.New("cli.no-file").Because(err)
	}
	if info.Size() > maxGrant {
		return wanted, badGrant(nil, fault{"the file is too large for a grant", "文件过大，不是授权文件"})
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return wanted, problem.New("cli.no-file").Because(err)
	}
	if text, err = yaml.YAMLToJSON(text); err != nil {
		return wanted, badGrant(err, fault{"it is not YAML", "不是 YAML"})
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return wanted, badGrant(nil, fault{"it holds no fields", "其中没有字段"})
	}
	faults := unknownFields(fields, reflect.TypeOf(wanted), "")
	for _, name := range []string{"from", "until"} {
		if wrong := readDay(fields, name); wrong != nil {
			faults = append(faults, *wrong)
			delete(fields, name)
		}
	}
	if text, err = json.Marshal(fields); err != nil {
		return wanted, badGrant(err)
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&wanted); err != nil {
		var wrong *json.UnmarshalTypeError
		if !errors.As(err, &wrong) {
			return wanted, badGrant(err, faults...)
		}
		faults = append(faults, fault{wrong.Field + " cannot be a " + wrong.Value, wrong.Field + " 的类型不能是 " + wrong.Value})
	}
	if len(faults) > 0 {
		return wanted, badGrant(nil, faults...)
	}
	return wanted, nil
}

var dayAlone = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

// readDay writes a day as the moment that it means, and refuses what is neither a day nor a moment.
func readDay(fields map[string]any, name string) *fault {
	value, given := fields[name]
	if !given {
		return nil
	}
	text, _ := value.(string)
	at, err := momentOf(text, name == "until")
	if err != nil {
		return &fault{name + " must be a day, such as 2027-06-30, or a time, such as 2027-06-30T18:00:00+08:00", name + " 须为日期（如 2027-06-30）或时间（如 2027-06-30T18:00:00+08:00）"}
	}
	fields[name] = at.Format(time.RFC3339)
	return nil
}

// momentOf reads a time (RFC 3339), or a day of the person's own zone: its beginning or its end.
func momentOf(text string, end bool) (time.Time, error) {
	if !dayAlone.MatchString(text) {
		return time.Parse(time.RFC3339, text)
	}
	at, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err == nil && end {
		at = at.AddDate(0, 0, 1)
	}
	return at, err
}

// unknownFields are those that the type has no place for, also inside.
func unknownFields(value any, t reflect.Type, path string) []fault {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch value := value.(type) {
	case []any:
		if t.Kind() != reflect.Slice {
			return nil
		}
		var faults []fault
		for i, one := range value {
			faults = append(faults, unknownFields(one, t.Elem(), fmt.Sprintf("%s (%d)", path, i+1))...)
		}
		return faults
	case map[string]any:
		if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
			return nil
		}
		known := map[string]reflect.Type{}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			known[name] = t.Field(i).Type
		}
		var faults []fault
		for _, name := range slices.Sorted(maps.Keys(value)) {
			inside := strings.TrimPrefix(path+"."+name, ".")
			if kind, ok := known[name]; ok {
				faults = append(faults, unknownFields(value[name], kind, inside)...)
				continue
			}
			wrong := fault{inside + " is no field of a grant", "授权没有字段 " + inside}
			if meant := nearestOf(name, slices.Sorted(maps.Keys(known))); meant != "" {
				wrong.english += " (did you mean " + meant + "?)"
				wrong.chinese += "（是否想写 " + meant + "？）"
			}
			faults = append(faults, wrong)
		}
		return faults
	}
	return nil
}

// nearestOf is the name that was probably meant.
func nearestOf(word string, names []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, name := range names {
		if d := levenshtein.ComputeDistance(word, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// moment is a flag that takes a time, or a day, which begins at midnight.
type moment struct{ time.Time }

// UnmarshalText reads it.
func (m *moment) UnmarshalText(text []byte) (err error) {
	m.Time, err = momentOf(string(text), false)
	return err
}

// lastMoment is a flag that takes a time, or a day, which is meant to its end.
type lastMoment struct{ time.Time }

// UnmarshalText reads it.
func (m *lastMoment) UnmarshalText(text []byte) (err error) {
	m.Time, err = momentOf(string(text), true)
	return err
}
