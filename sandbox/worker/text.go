package worker

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"weir/sandbox/wire"
)

const replacement = "\uFFFD" // what a decoder writes for bytes that are no character

// plainText gives the bytes of the file from its beginning, as they were before they were compressed.
func plainText(input *os.File, request wire.Intake) (io.Reader, error) {
	if _, err := input.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if !request.Gzip {
		return input, nil
	}
	unpacked, err := gzip.NewReader(bufio.NewReaderSize(input, 1<<20))
	if err != nil {
		return nil, bad("unreadable")
	}
	return unpacked, nil
}

// decode gives the file as UTF-8. Without a declared encoding it is UTF-8, UTF-16 or GB18030 (which holds GBK and GB 2312), if
// it is clearly one of them; see script. A UTF-8 file that is damaged is read as one, and valid then finds the place.
func decode(input *os.File, request wire.Intake) (io.Reader, error) {
	declared := request.Encoding
	text, err := plainText(input, request)
	if err != nil {
		return nil, err
	}
	if declared == "" {
		if declared, err = sniff(text); err != nil {
			return nil, bad("unreadable")
		}
		if declared == "" || declared == "latin-1" || declared == "big5" {
			return nil, bad("encoding-unclear")
		}
		if text, err = plainText(input, request); err != nil {
			return nil, err
		}
	}
	return decoded(text, declared), nil
}

// decoded gives a text in a known encoding as UTF-8, without the mark of the order of bytes.
func decoded(text io.Reader, name string) io.Reader {
	reader := bufio.NewReaderSize(text, 1<<20)
	if known, ok := encodings[name]; ok {
		return bufio.NewReaderSize(known.NewDecoder().Reader(reader), 1<<20)
	}
	if mark, _ := reader.Peek(3); string(mark) == "\xEF\xBB\xBF" {
		reader.Discard(3)
	}
	return reader
}

// valid reports whether a text came through decoding whole.
func valid(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, replacement) }

// longestRow is the most bytes of one row. Without it, a quote that is never closed would take in the whole file.
const longestRow = 16 << 20

// bounded fails when a row goes on for too long. Its reader begins a row with rest = longestRow.
type bounded struct {
	io.Reader
	rest int
}

var errLongRow = errors.New("row too long")

func (b *bounded) Read(p []byte) (int, error) {
	if b.rest <= 0 {
		return 0, errLongRow
	}
	n, err := b.Reader.Read(p[:min(len(p), 1<<16)])
	b.rest -= n
	return n, err
}

// csvSource reads CSV (RFC 4180) with a line of names. An empty field is NULL, quoted or not.
type csvSource struct {
	input  *bounded
	reader *csv.Reader
	at     int64 // line in which the last row began
	table  *named
}

func openCSV(file *os.File, request wire.Intake) (source, error) {
	text, err := decode(file, request)
	if err != nil {
		return nil, err
	}
	s := &csvSource{input: &bounded{text, longestRow}}
	s.reader = csv.NewReader(s.input)
	s.reader.ReuseRecord = true
	if request.Read.Delimiter != "" {
		s.reader.Comma, _ = utf8.DecodeRuneInString(request.Read.Delimiter)
	}
	s.reader.FieldsPerRecord = -1 // what stands above the names may have any width
	s.table, err = name(request, func() ([]string, error) { return s.record() })
	if s.table != nil {
		s.reader.FieldsPerRecord = s.table.width
	}
	return s, err
}

func (s *csvSource) record() ([]string, error) {
	s.input.rest = longestRow
	record, err := s.reader.Read()
	if len(record) > 0 {
		line, _ := s.reader.FieldPos(0)
		s.at = int64(line)
	}
	if err != nil && err != io.EOF {
		return nil, s.fault(err)
	}
	return record, err
}

func (s *csvSource) next() ([]any, error) {
	record, err := s.record()
	if err != nil {
		return nil, err
	}
	return s.table.row(record)
}

func (s *csvSource) fault(err error) error {
	var place *csv.ParseError
	if errors.As(err, &place) {
		s.at = int64(place.StartLine)
	}
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		return bad("wrong-width")
	case errors.Is(err, csv.ErrQuote), errors.Is(err, csv.ErrBareQuote):
		return bad("quotes")
	case errors.Is(err, errLongRow):
		return bad("long-row")
	}
	return bad("unreadable")
}

func (s *csvSource) line() int64 { return s.at }

func (s *csvSource) undeclared() int { return s.table.extra }

// jsonSource reads an array of objects, or objects one after another. A field that an object lacks is NULL.
type jsonSource struct {
	input   *bounded
	decoder *json.Decoder
	array   bool
	within  int              // objects around the list of rows
	places  map[string][]int // for each name of a row, the columns in it
	paths   [][]string       // for each column, the names below that one
	columns []wire.IntakeColumn
	seen    []bool          // declared columns that any row had
	extra   map[string]bool // names of others
	rows    int64
	values  []any
	broken  *badFile // of the row that is being read
}

func openJSON(file *os.File, request wire.Intake) (source, error) {
	text, err := decode(file, request)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(text, 1<<20)
	s := &jsonSource{
		columns: request.Columns, places: map[string][]int{}, extra: map[string]bool{},
		seen: make([]bool, len(request.Columns)), values: make([]any, len(request.Columns)),
	}
	for i, c := range request.Columns {
		path := []string{c.Name} // which may have a point in it
		if c.Source != "" {
			path = strings.Split(c.Source, ".")
		}
		s.places[path[0]] = append(s.places[path[0]], i)
		s.paths = append(s.paths, path[1:])
	}
	for {
		first, err := buffered.ReadByte()
		if err == io.EOF {
			return nil, bad("no-rows")
		}
		if err != nil {
			return nil, bad("unreadable")
		}
		if first == ' ' || first == '\t' || first == '\r' || first == '\n' {
			continue
		}
		buffered.UnreadByte()
		s.array = first == '['
		break
	}
	s.input = &bounded{buffered, longestRow}
	s.decoder = json.NewDecoder(s.input)
	s.decoder.UseNumber()
	if request.Read.Path != "" {
		return s, s.descend(strings.Split(request.Read.Path, "."))
	}
	if s.array {
		s.decoder.Token()
	}
	return s, nil
}

// descend reads up to the list of rows that a path names.
func (s *jsonSource) descend(path []string) error {
	missing := bad("no-path")
	for _, step := range path {
		if token, err := s.decoder.Token(); err != nil || token != json.Delim('{') {
			return missing
		}
		s.within++
		for {
			if !s.decoder.More() {
				return missing
			}
			s.input.rest = longestRow
			token, err := s.decoder.Token()
			if err != nil {
				return s.fault(err)
			}
			if token == step {
				break
			}
			var passed json.RawMessage
			if err := s.decoder.Decode(&passed); err != nil {
				return s.fault(err)
			}
		}
	}
	token, err := s.decoder.Token()
	if err != nil || token != json.Delim('[') {
		return missing
	}
	s.array = true
	return nil
}

func (s *jsonSource) next() ([]any, error) {
	s.input.rest = longestRow
	if s.array && !s.decoder.More() {
		return nil, s.end()
	}
	token, err := s.decoder.Token()
	if err == io.EOF && !s.array {
		return nil, s.complete()
	}
	if err != nil || token != json.Delim('{') {
		return nil, s.fault(err)
	}
	s.rows++
	s.broken = nil
	clear(s.values)
	for given := map[string]bool{}; s.decoder.More(); {
		token, err := s.decoder.Token()
		name, ok := token.(string)
		if err != nil || !ok || given[name] {
			return nil, s.fault(err)
		}
		given[name] = true
		if err := s.field(name); err != nil {
			return nil, err
		}
	}
	if token, err := s.decoder.Token(); err != nil || token != json.Delim('}') {
		return nil, s.fault(err)
	}
	if s.broken != nil {
		return nil, s.broken
	}
	return s.values, nil
}

func (s *jsonSource) field(name string) error {
	var value any
	if err := s.decoder.Decode(&value); err != nil {
		return s.fault(err)
	}
	places, declared := s.places[name]
	if !declared {
		s.extra[name] = true
		return nil
	}
	for _, i := range places {
		found, there := below(value, s.paths[i])
		if !there {
			continue
		}
		s.seen[i] = true
		if text, ok := found.(string); ok && !valid(text) {
			s.broken = &badFile{wire.BadFile{Kind: "encoding", Column: s.columns[i].Name}}
		}
		s.values[i] = found
	}
	return nil
}

// below gives the value at a path of names in a value.
func below(value any, path []string) (any, bool) {
	for _, step := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, value == nil
		}
		if value, ok = object[step]; !ok {
			return nil, false
		}
	}
	return value, true
}

// end takes the array's end, after which nothing may follow.
func (s *jsonSource) end() error {
	if token, err := s.decoder.Token(); err != nil || token != json.Delim(']') {
		return s.fault(err)
	}
	for ; s.within > 0; s.within-- {
		for s.decoder.More() {
			s.input.rest = longestRow
			var passed json.RawMessage
			if _, err := s.decoder.Token(); err != nil {
				return s.fault(err)
			}
			if err := s.decoder.Decode(&passed); err != nil {
				return s.fault(err)
			}
		}
		if token, err := s.decoder.Token(); err != nil || token != json.Delim('}') {
			return s.fault(err)
		}
	}
	if _, err := s.decoder.Token(); err != io.EOF {
		return bad("malformed")
	}
	return s.complete()
}

// complete ends the rows, unless a declared column was in none of them.
func (s *jsonSource) complete() error {
	for i, seen := range s.seen {
		if !seen && s.rows > 0 {
			return &badFile{wire.BadFile{Kind: missingColumn, Column: s.columns[i].Name}}
		}
	}
	return io.EOF
}

func (s *jsonSource) fault(err error) error {
	if errors.Is(err, errLongRow) {
		return bad("long-row")
	}
	return bad("malformed")
}

func (s *jsonSource) line() int64     { return 0 }
func (s *jsonSource) undeclared() int { return len(s.extra) }
