package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"weir/internal/problem"
	"weir/policy"
)

// manifest is what a provider writes about a data set.
type manifest struct {
	policy.Dataset `yaml:",inline"`

	File     string `yaml:"file"`     // relative to the manifest
	Encoding string `yaml:"encoding"` // empty: found out, where that is certain

	Read readingOptions `yaml:"read"`

	format string // csv, json, parquet or xlsx
	gzip   bool
}

// datasetName is what a data set may be called. It is part of paths and of SQL.
var datasetName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// readManifest reads and checks a manifest. What is wrong is a problem "intake.…" with the line where the YAML is
// at fault.
func readManifest(path string) (manifest, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > MaxManifest {
		return manifest{}, problem.New("intake.no-file", "file", plain(filepath.Base(path))).Because(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return manifest{}, problem.New("intake.no-file", "file", plain(filepath.Base(path))).Because(err)
	}
	return parseManifest(path, content)
}

// parseManifest is readManifest of a text that came from path, or from no file.
func parseManifest(path string, content []byte) (manifest, error) {
	var m manifest
	if err := decodeYAML(content, &m, yaml.Strict()); err != nil {
		return manifest{}, badYAML(path, err)
	}
	if p := m.check(); p != nil {
		return manifest{}, p
	}
	return m, nil
}

func badYAML(path string, err error) error {
	p := problem.New("intake.bad-yaml", "file", plain(filepath.Base(path))).Because(err)
	var fault *yamlFault
	if errors.As(err, &fault) {
		p.Place(fault.at)
	}
	return p
}

// check holds the manifest to its rules and brings types and encoding to their one spelling.
func (m *manifest) check() *problem.Problem {
	if !datasetName.MatchString(m.Name) {
		return problem.New("intake.bad-name", "name", plain(m.Name))
	}
	if p := m.checkFile(); p != nil {
		return p
	}
	if len(m.Columns) == 0 {
		return problem.New("intake.no-columns")
	}
	names := map[string]bool{}
	for i := range m.Columns {
		c := &m.Columns[i]
		if p := checkColumn(c); p != nil {
			return p
		}
		if p := checkDisclosure(c); p != nil {
			return p
		}
		// The engine does not tell names apart by case.
		if folded := strings.ToLower(c.Name); names[folded] {
			return problem.New("intake.twice", "name", plain(c.Name))
		} else {
			names[folded] = true
		}
	}
	if p := m.checkUnits(); p != nil {
		return p
	}
	return m.checkDisclosure()
}

var (
	formats   = map[string]string{".csv": "csv", ".json": "json", ".ndjson": "json", ".jsonl": "json", ".parquet": "parquet", ".xlsx": "xlsx"}
	encodings = map[string]string{
		"": "", "utf-8": "utf-8", "utf8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "utf-16": "utf-16", "utf16": "utf-16",
		"latin-1": "latin-1", "latin1": "latin-1", "iso-8859-1": "latin-1", "windows-1252": "latin-1", "big5": "big5", "big-5": "big5",
	}
)

// formatOf tells the format of a file from its name, and whether it is compressed.
func formatOf(file string) (format string, gzip bool) {
	name, gzip := strings.CutSuffix(strings.ToLower(file), ".gz")
	format = formats[filepath.Ext(name)]
	if gzip && format != "csv" && format != "json" {
		return "", false
	}
	return format, gzip
}

func (m *manifest) checkFile() *problem.Problem {
	m.format, m.gzip = formatOf(m.File)
	if m.format == "" {
		return problem.New("intake.bad-format", "file", plain(filepath.Base(m.File)))
	}
	encoding, ok := encodings[strings.ToLower(m.Encoding)]
	if !ok || encoding != "" && m.format != "csv" && m.format != "json" {
		return problem.New("intake.bad-encoding", "name", plain(m.Encoding))
	}
	m.Encoding = encoding
	return m.Read.check(m.format)
}

func checkColumn(c *policy.Column) *problem.Problem {
	shown := plain(c.Name)
	if !columnName(c.Name) {
		return problem.New("intake.bad-column", "name", shown)
	}
	typeName, err := NormalizeType(c.Type)
	if err != nil {
		return problem.New("intake.unknown-type", "name", shown, "type", plain(c.Type))
	}
	c.Type = typeName
	if !slices.Contains(policy.Classes, c.Class) {
		return problem.New("intake.unknown-class", "name", shown, "class", plain(string(c.Class)))
	}
	if c.Bound == nil && c.Class != policy.Measure {
		return nil
	}
	if c.Class == policy.Identifier || c.Class == policy.FreeText {
		return problem.New("intake.measure-class", "name", shown, "class", string(c.Class))
	}
	if !numeric(c.Type) {
		return problem.New("intake.measure-type", "name", shown, "type", c.Type)
	}
	return checkBounds(*c)
}

func checkBounds(c policy.Column) *problem.Problem {
	if c.Bound == nil {
		return nil
	}
	for _, bound := range []*float64{c.Bound.Min, c.Bound.Max} {
		if bound != nil && (math.IsNaN(*bound) || math.IsInf(*bound, 0)) {
			return problem.New("intake.measure-bounds", "name", plain(c.Name))
		}
	}
	if c.Bound.Min != nil && c.Bound.Max != nil && *c.Bound.Min > *c.Bound.Max {
		return problem.New("intake.measure-bounds", "name", plain(c.Name))
	}
	return nil
}

func numeric(typeName string) bool {
	return !slices.Contains([]string{"VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP"}, typeName)
}

// columnName allows whatever prints on one line, so names in any language and the words of SQL; two underscores in
// front are the platform's own.
func columnName(name string) bool {
	return name != "" && len(name) <= 128 && utf8.ValidString(name) && !strings.HasPrefix(name, "__") &&
		name == strings.TrimSpace(name) && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func (m *manifest) checkUnits() *problem.Problem {
	if m.Open == (len(m.Units) > 0) {
		return problem.New("intake.units-or-open")
	}
	keys := map[string]bool{}
	for i := range m.Units {
		u := m.Units[i]
		if !datasetName.MatchString(u.Domain) {
			return problem.New("intake.bad-domain", "name", plain(u.Domain))
		}
		c, ok := m.Column(u.Key)
		if !ok || c.Class != policy.Identifier {
			return problem.New("intake.bad-key", "name", plain(u.Key))
		}
		if keys[u.Key] {
			return problem.New("intake.twice", "name", plain(u.Key))
		}
		keys[u.Key] = true
		if c.Type == "DOUBLE" || c.Type == "FLOAT" || c.Type == "BOOLEAN" {
			return problem.New("intake.bad-key", "name", plain(u.Key))
		}
	}
	return nil
}

// json writes what the store keeps of a data set.
func (m manifest) json() (string, error) {
	text, err := json.Marshal(m.Dataset)
	if err != nil {
		return "", fmt.Errorf("encode manifest: %w", err)
	}
	return string(text), nil
}

func rowText(n int64) string { return strconv.FormatInt(n, 10) }
