package worker

import (
	"archive/zip"
	"encoding/xml"
	"io"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"weir/sandbox/wire"
)

// maxPart is the most bytes of one part of a spreadsheet, once unpacked.
const maxPart = 512 << 20

// sheetSource reads a sheet of a spreadsheet (XLSX, ECMA-376) with a row of names. Cells come as they are stored, so that no
// format rounds a number; dates and times are stored as numbers of days. It is our own, since the library for it would link
// an HTTP client into the process that sees data.
type sheetSource struct {
	cells   *xml.Decoder
	strings []string // that cells name by their number
	at      int64
	table   *named
	times   []bool    // by declared column, whether it holds dates or times
	day0    time.Time // from which days are counted
}

// workbook is the part of a spreadsheet that names its sheets.
type workbook struct {
	Properties struct {
		Date1904 bool `xml:"date1904,attr"`
	} `xml:"workbookPr"`
	Sheets []struct {
		Name string `xml:"name,attr"`
		ID   string `xml:"http://schemas.openxmlformats.org/officeDocument/2006/relationships id,attr"`
	} `xml:"sheets>sheet"`
}

type relations struct {
	List []struct {
		ID     string `xml:"Id,attr"`
		Target string `xml:"Target,attr"`
	} `xml:"Relationship"`
}

// rich is a text that may be in pieces of several fonts. How it is pronounced is no part of it.
type rich struct {
	Text string `xml:"t"`
	Runs []struct {
		Text string `xml:"t"`
	} `xml:"r"`
}

func (r rich) String() string {
	text := r.Text
	for _, run := range r.Runs {
		text += run.Text
	}
	return text
}

type cell struct {
	At     string `xml:"r,attr"`
	Type   string `xml:"t,attr"`
	Value  string `xml:"v"`
	Inline rich   `xml:"is"`
}

func openSheet(file *os.File, request wire.Intake) (source, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	parts, err := zip.NewReader(file, info.Size())
	if err != nil {
		return nil, bad("unreadable")
	}
	var book workbook
	var known relations
	if decodePart(parts, "xl/workbook.xml", &book) != nil || decodePart(parts, "xl/_rels/workbook.xml.rels", &known) != nil {
		return nil, bad("unreadable")
	}
	target := ""
	for _, sheet := range book.Sheets {
		if request.Read.Sheet != "" && request.Read.Sheet != sheet.Name {
			continue
		}
		for _, r := range known.List {
			if r.ID == sheet.ID {
				target = r.Target
			}
		}
		break
	}
	if target == "" {
		return nil, bad("no-sheet")
	}
	if !strings.HasPrefix(target, "/") {
		target = path.Join("/xl", target)
	}
	s := &sheetSource{day0: time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)}
	if book.Properties.Date1904 {
		s.day0 = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	var shared struct {
		Items []rich `xml:"si"`
	}
	if _, err := parts.Open("xl/sharedStrings.xml"); err == nil && decodePart(parts, "xl/sharedStrings.xml", &shared) != nil {
		return nil, bad("unreadable")
	}
	for _, item := range shared.Items {
		s.strings = append(s.strings, item.String())
	}
	part, err := parts.Open(strings.TrimPrefix(target, "/"))
	if err != nil {
		return nil, bad("unreadable")
	}
	s.cells = xml.NewDecoder(io.LimitReader(part, maxPart))
	for _, c := range request.Columns {
		s.times = append(s.times, c.Type == "DATE" || c.Type == "TIMESTAMP")
	}
	s.table, err = name(request, s.record)
	return s, err
}

func decodePart(parts *zip.Reader, name string, into any) error {
	part, err := parts.Open(name)
	if err != nil {
		return err
	}
	defer part.Close()
	return xml.NewDecoder(io.LimitReader(part, maxPart)).Decode(into)
}

// record gives the next row. Behind the names, rows without a cell are passed over.
func (s *sheetSource) record() ([]string, error) {
	for {
		token, err := s.cells.Token()
		if err != nil {
			return nil, bad("unreadable") // the sheet's own end comes before the part's
		}
		switch element := token.(type) {
		case xml.EndElement:
			if element.Name.Local == "sheetData" {
				return nil, io.EOF
			}
		case xml.StartElement:
			if element.Name.Local != "row" {
				continue
			}
			var row struct {
				Cells []cell `xml:"c"`
			}
			if err := s.cells.DecodeElement(&row, &element); err != nil {
				return nil, bad("unreadable")
			}
			s.at++
			record, err := s.texts(row.Cells)
			if err != nil || len(record) > 0 || s.table == nil {
				return record, err
			}
		}
	}
}

// maxColumns is the most columns that a sheet can have.
const maxColumns = 16_384

// texts puts the cells of a row to their places.
func (s *sheetSource) texts(cells []cell) ([]string, error) {
	var record []string
	for _, c := range cells {
		place := len(record)
		if c.At != "" {
			place = columnOf(c.At)
		}
		if place < len(record) || place >= maxColumns {
			return nil, bad("unreadable")
		}
		text := c.Value
		switch c.Type {
		case "s":
			n, err := strconv.Atoi(c.Value)
			if err != nil || n < 0 || n >= len(s.strings) {
				return nil, bad("unreadable")
			}
			text = s.strings[n]
		case "inlineStr":
			text = c.Inline.String()
		}
		for len(record) < place {
			record = append(record, "")
		}
		record = append(record, text)
	}
	for len(record) > 0 && record[len(record)-1] == "" {
		record = record[:len(record)-1]
	}
	return record, nil
}

// columnOf gives the place of a cell's column: 0 for A1, 26 for AA7.
func columnOf(at string) int {
	place := 0
	for i := 0; i < len(at) && at[i] >= 'A' && at[i] <= 'Z' && place < maxColumns; i++ {
		place = place*26 + int(at[i]-'A') + 1
	}
	if place == 0 {
		return maxColumns
	}
	return place - 1
}

func (s *sheetSource) next() ([]any, error) {
	record, err := s.record()
	if err != nil {
		return nil, err
	}
	if len(record) > s.table.width {
		return nil, bad("wrong-width")
	}
	values, err := s.table.row(record)
	if err != nil {
		return nil, err
	}
	for i, value := range values {
		text, ok := value.(string)
		if !ok || !s.times[i] {
			continue
		}
		// Before March 1900 spreadsheets count a day that there was not.
		if days, err := strconv.ParseFloat(text, 64); err == nil && days >= 61 && days < 2_958_466 {
			whole, part := math.Modf(days)
			values[i] = s.day0.AddDate(0, 0, int(whole)).Add(time.Duration(math.Round(part*86_400_000)) * time.Millisecond)
		}
	}
	return values, nil
}

func (s *sheetSource) line() int64     { return s.at }
func (s *sheetSource) undeclared() int { return s.table.extra }
