package worker

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"

	"weir/sandbox/wire"
)

const replacement = "\uFFFD" // what a decoder writes for bytes that are no character

// decode gives the file as UTF-8. Without a declared encoding it is UTF-8 if all of it is; a file with more bytes
// that are not than characters of several bytes that are is GB18030 (which holds GBK and GB 2312), and any other
// is damaged UTF-8, in which valid then finds the place. UTF-16 says so in its first two bytes.
func decode(input *os.File, declared string) (io.Reader, error) {
	if declared == "" {
		var err error
		if declared, err = detect(input); err != nil {
			return nil, err
		}
		if _, err := input.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	reader := bufio.NewReaderSize(input, 1<<20)
	switch declared {
	case "gb18030":
		return bufio.NewReaderSize(simplifiedchinese.GB18030.NewDecoder().Reader(reader), 1<<20), nil
	case "utf-16":
		utf16 := unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM)
		return bufio.NewReaderSize(utf16.NewDecoder().Reader(reader), 1<<20), nil
	}
	if mark, _ := reader.Peek(3); string(mark) == "\xEF\xBB\xBF" {
		reader.Discard(3)
	}
	return reader, nil
}

func detect(input io.Reader) (string, error) {
	reader := bufio.NewReaderSize(input, 1<<20)
	if mark, _ := reader.Peek(2); string(mark) == "\xFF\xFE" || string(mark) == "\xFE\xFF" {
		return "utf-16", nil
	}
	wide, broken := 0, 0
	for {
		r, size, err := reader.ReadRune()
		switch {
		case err == io.EOF && broken > wide:
			return "gb18030", nil
		case err == io.EOF:
			return "utf-8", nil
		case err != nil:
			return "", err
		case r == utf8.RuneError && size == 1:
			broken++
		case size > 1:
			wide++
		}
	}
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

// csvSource reads CSV (RFC 4180) with a header. An empty field is NULL, quoted or not.
type csvSource struct {
	input   *bounded
	reader  *csv.Reader
	places  []int // for each declared column, its place in the file
	extra   int
	at      int64 // line in which the last row began
	values  []any
	columns []wire.IntakeColumn
}

func openCSV(file *os.File, request wire.Intake) (source, error) {
	text, err := decode(file, request.Encoding)
	if err != nil {
		return nil, err
	}
	s := &csvSource{input: &bounded{text, longestRow}, values: make([]any, len(request.Columns)), columns: request.Columns}
	s.reader = csv.NewReader(s.input)
	s.reader.ReuseRecord = true
	header, err := s.reader.Read()
	if err == io.EOF {
		return nil, bad("no-rows")
	}
	if err != nil {
		return nil, s.fault(err)
	}
	header = slices.Clone(header)
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	for _, c := range request.Columns {
		place := slices.Index(header, c.Name)
		if place < 0 {
			return nil, &badFile{wire.BadFile{Kind: missingColumn, Column: c.Name}}
		}
		if slices.Contains(header[place+1:], c.Name) {
			return nil, &badFile{wire.BadFile{Kind: "duplicate-header", Column: c.Name}}
		}
		s.places = append(s.places, place)
	}
	s.extra = len(header) - len(request.Columns)
	return s, nil
}

func (s *csvSource) next() ([]any, error) {
	s.input.rest = longestRow
	record, err := s.reader.Read()
	if err == io.EOF {
		return nil, io.EOF
	}
	if err != nil {
		return nil, s.fault(err)
	}
	line, _ := s.reader.FieldPos(0)
	s.at = int64(line)
	for i, place := range s.places {
		field := record[place]
		switch {
		case field == "":
			s.values[i] = nil
		case !valid(field):
			return nil, &badFile{wire.BadFile{Kind: "encoding", Column: s.columns[i].Name}}
		default:
			s.values[i] = field
		}
	}
	return s.values, nil
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

func (s *csvSource) undeclared() int { return s.extra }

// jsonSource reads an array of objects, or objects one after another. A field that an object lacks is NULL.
type jsonSource struct {
	input   *bounded
	decoder *json.Decoder
	array   bool
	places  map[string]int
	columns []wire.IntakeColumn
	seen    []bool          // declared columns that any row had
	extra   map[string]bool // names of others
	rows    int64
	values  []any
}

func openJSON(file *os.File, request wire.Intake) (source, error) {
	text, err := decode(file, request.Encoding)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(text, 1<<20)
	s := &jsonSource{
		columns: request.Columns, places: map[string]int{}, extra: map[string]bool{},
		seen: make([]bool, len(request.Columns)), values: make([]any, len(request.Columns)),
	}
	for i, c := range request.Columns {
		s.places[c.Name] = i
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
	if s.array {
		s.decoder.Token()
	}
	return s, nil
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
	return s.values, nil
}

func (s *jsonSource) field(name string) error {
	var value any
	if err := s.decoder.Decode(&value); err != nil {
		return s.fault(err)
	}
	i, declared := s.places[name]
	if !declared {
		s.extra[name] = true
		return nil
	}
	s.seen[i] = true
	if text, ok := value.(string); ok && !valid(text) {
		return &badFile{wire.BadFile{Kind: "encoding", Column: name}}
	}
	s.values[i] = value
	return nil
}

// end takes the array's end, after which nothing may follow.
func (s *jsonSource) end() error {
	if token, err := s.decoder.Token(); err != nil || token != json.Delim(']') {
		return s.fault(err)
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
