package sandbox

import (
	_ "embed" // what other databases write
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"

	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox/wire"
)

//go:embed dialects.yaml
var dialectFile []byte

// dialects is what other databases write, and what is written here instead.
type dialects struct {
	Functions map[string]string `yaml:"functions"`
	Columns   map[string]string `yaml:"columns"`
	Tables    map[string]string `yaml:"tables"`
	Types     map[string]string `yaml:"types"`
	Syntax    []struct {
		Pattern string `yaml:"pattern"`
		Found   string `yaml:"found"`
		Instead string `yaml:"instead"`
		matches *regexp.Regexp
	} `yaml:"syntax"`
	Files []string `yaml:"files"`
}

var dialect = func() (d dialects) {
	if err := yaml.UnmarshalWithOptions(dialectFile, &d, yaml.Strict()); err != nil {
		panic("dialects.yaml: " + err.Error())
	}
	for i := range d.Syntax {
		d.Syntax[i].matches = regexp.MustCompile("(?i)" + d.Syntax[i].Pattern)
	}
	return d
}()

// refuse makes a problem of a planner's finding. The planner has read a hostile text, so nothing that it says is
// taken as it is: the kind must be known and the name must be the person's own. What is said beside it follows from the
// text, the names of the schema and dialects.yaml.
func refuse(sql string, schema []policy.Dataset, found wire.Refusal) *problem.Problem {
	if !slices.Contains(kinds, found.Kind) {
		found.Kind = "other"
	}
	name := ownWord(sql, found.Name)
	if mark, at, is := fullWidth(sql, schema, found); is {
		return problem.New("sql.full-width", "mark", string(mark), "plain", plainOf[mark]).Place(Place(sql, at))
	}
	if file, at, is := readsFile(sql, found); is {
		return problem.New("sql.files", "name", file).Place(Place(sql, at))
	}
	code, args := "sql."+found.Kind, []string{"name", name, "quoted", unquoted(sql, schema)}
	word := strings.ToLower(name)
	switch found.Kind {
	case "syntax", "not-a-select":
		if other, at, is := otherDialect(sql); is {
			return other.Place(Place(sql, at))
		}
	case "unknown-column":
		args = append(args, "instead", dialect.Columns[word], "nearest", nearest(word, columnsOf(schema)))
	case "unknown-table":
		args = append(args, "instead", dialect.Tables[word], "nearest", nearest(word, tablesOf(schema)))
	case "unknown-type":
		args = append(args, "instead", dialect.Types[word])
	case "unknown-function", "wrong-type":
		if other, at, is := otherDialect(sql); is && strings.Contains(found.Name, "`") {
			return other.Place(Place(sql, at))
		}
		args = append(args, "instead", dialect.Functions[word], "nearest", nearest(word, usualFunctions))
	}
	return problem.New(code, args...).Place(Place(sql, found.Offset))
}

// usualFunctions are those among which a misspelt one is looked for.
var usualFunctions = []string{
	"count", "sum", "avg", "median", "stddev", "variance", "corr", "quantile_cont", "count_if", "round", "floor", "ceil", "abs", "coalesce",
	"nullif", "length", "lower", "upper", "trim", "substring", "left", "right", "contains", "starts_with", "concat", "replace", "regexp_matches",
	"regexp_extract", "year", "month", "day", "quarter", "date_trunc", "date_part", "date_diff", "strftime", "least", "greatest",
}

func columnsOf(schema []policy.Dataset) (names []string) {
	for _, d := range schema {
		for _, c := range d.Columns {
			names = append(names, c.Name)
		}
	}
	return names
}

func tablesOf(schema []policy.Dataset) (names []string) {
	for _, d := range schema {
		names = append(names, d.Name)
	}
	return names
}

// unquoted is a column with signs in its name that the text names without quotes, in quotes.
func unquoted(sql string, schema []policy.Dataset) string {
	code := withoutNames(withoutTexts(sql))
	for _, name := range columnsOf(schema) {
		if strings.ContainsFunc(name, func(r rune) bool { return !isNamePart(r) }) && strings.Contains(code, name) {
			return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
	}
	return ""
}

// nearest is the name that somebody may have meant: few letters away, for its length, and nothing where none is. The
// same name is not, as it was there and was not what was looked for.
func nearest(word string, names []string) string {
	best, least := "", max(1, (utf8.RuneCountInString(word)+1)/3)+1
	for _, name := range names {
		if d := levenshtein.ComputeDistance(word, strings.ToLower(name)); d > 0 && d < least {
			best, least = name, d
		}
	}
	return best
}

// otherDialect finds what another database would understand.
func otherDialect(sql string) (*problem.Problem, int, bool) {
	code := withoutTexts(sql)
	for _, s := range dialect.Syntax {
		if found := s.matches.FindStringSubmatchIndex(code); found != nil {
			return problem.New("sql.other-dialect", "found", s.Found, "instead", s.Instead), found[2], true
		}
	}
	return nil, 0, false
}

var (
	word      = regexp.MustCompile(`^[\pL_][\pL\pN_]*`)
	fileTable = regexp.MustCompile(`(?i)(?:\bfrom\b|\bjoin\b|,)\s*('[^']*'|"[^"]*[./][^"]*")`)
)

// readsFile finds what would read a file or another database: a function by its name, or a file's name for a table.
func readsFile(sql string, found wire.Refusal) (name string, at int, is bool) {
	if found.Kind != "files" && found.Kind != "unknown-function" {
		return "", 0, false
	}
	if found.Offset >= 0 && found.Offset <= len(sql) {
		name = word.FindString(sql[found.Offset:])
	}
	if name == "" {
		name = found.Name
	}
	lower, place := strings.ToLower(name), found.Offset
	if place < 0 && name != "" {
		place = strings.Index(strings.ToLower(sql), lower)
	}
	for _, begins := range dialect.Files {
		if name != "" && strings.HasPrefix(lower, begins) {
			return ownWord(sql, name), place, true
		}
	}
	if found.Kind != "files" {
		return "", 0, false
	}
	if table := fileTable.FindStringSubmatchIndex(sql); table != nil {
		return ownWord(sql, sql[table[2]:table[3]]), table[2], true
	}
	return ownWord(sql, name), place, true
}

// plainOf are the marks of Chinese keyboards and of word processors that people type for SQL's own.
var plainOf = map[rune]string{
	'，': ",", '、': ",", '；': ";", '：': ":", '．': ".", '。': ".", '（': "(", '）': ")", '［': "[", '］': "]", '【': "[", '】': "]", '｛': "{", '｝': "}",
	'‘': "'", '’': "'", '＇': "'", '′': "'", '“': "'", '”': "'", '＂': `"`, '「': "'", '」': "'",
	'＝': "=", '＜': "<", '＞': ">", '＋': "+", '－': "-", '—': "-", '–': "-", '−': "-", '＊': "*", '×': "*", '／': "/", '÷': "/", '％': "%", '！': "!", '｜': "|",
	'≤': "<=", '≥': ">=", '≠': "<>",
}

// fullWidth finds a mark that was typed for one of SQL's, where it may have brought the refusal about. The engine takes such a
// mark for a letter, so it refuses the name that the mark is in, or, where the mark stands alone, what comes behind it.
// A mark in a name of the schema's, or in one that the text gives with AS, is meant.
func fullWidth(sql string, schema []policy.Dataset, found wire.Refusal) (rune, int, bool) {
	switch found.Kind {
	case "syntax", "other":
	default:
		if !strings.HasPrefix(found.Kind, "unknown-") {
			return 0, 0, false
		}
		if !strings.ContainsFunc(found.Name, func(r rune) bool { return plainOf[r] != "" }) {
			return 0, 0, false
		}
	}
	known := append(columnsOf(schema), tablesOf(schema)...)
	code := withoutNames(withoutTexts(sql))
	before := ""
	for at := 0; at < len(code); {
		end := at
		for end < len(code) {
			r, size := utf8.DecodeRuneInString(code[end:])
			if r < utf8.RuneSelf && !isNamePart(r) || unicode.IsSpace(r) {
				break
			}
			end += size
		}
		if end == at {
			at++
			continue
		}
		name := code[at:end]
		meant := strings.EqualFold(before, "as") || slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
		if i := strings.IndexFunc(name, func(r rune) bool { return plainOf[r] != "" }); i >= 0 && !meant {
			r, _ := utf8.DecodeRuneInString(name[i:])
			return r, at + i, true
		}
		before, at = name, end
	}
	return 0, 0, false
}

func isNamePart(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '$'
}

var (
	textsOrComments = regexp.MustCompile(`'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*(?s:.*?)\*/`)
	quotedNames     = regexp.MustCompile(`"(?:[^"]|"")*"`)
)

// withoutTexts blanks out strings and comments and keeps every place. Names in double quotes stay.
func withoutTexts(sql string) string {
	return textsOrComments.ReplaceAllStringFunc(sql, func(s string) string {
		if s[0] == '"' {
			return s
		}
		return strings.Repeat(" ", len(s))
	})
}

func withoutNames(sql string) string {
	return quotedNames.ReplaceAllStringFunc(sql, func(s string) string { return strings.Repeat(" ", len(s)) })
}
