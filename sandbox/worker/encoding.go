package worker

import (
	"bufio"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// encodings are those that a manifest may name, but for UTF-8.
var encodings = map[string]encoding.Encoding{
	"gb18030": simplifiedchinese.GB18030, "utf-16": unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM),
	"latin-1": charmap.Windows1252, "big5": traditionalchinese.Big5,
}

// script says how the bytes of a text are spread that are not of ASCII.
type script struct {
	wide, broken int // UTF-8: characters of several bytes, bytes that belong to none
	pairs, high  int // read as pairs of bytes: how many, and how many with a second byte from 0xA1 on
	last         byte
}

// look reads a text to its end.
func (s *script) look(input io.Reader) (mark bool, err error) {
	reader := bufio.NewReaderSize(input, 1<<20)
	if mark, _ := reader.Peek(2); string(mark) == "\xFF\xFE" || string(mark) == "\xFE\xFF" {
		return true, nil
	}
	for {
		next, err := reader.Peek(utf8.UTFMax)
		if len(next) == 0 {
			if err == io.EOF {
				return false, nil
			}
			return false, err
		}
		r, size := utf8.DecodeRune(next)
		for _, b := range next[:size] {
			s.pair(b)
		}
		switch {
		case r == utf8.RuneError && size == 1:
			s.broken++
		case size > 1:
			s.wide++
		}
		reader.Discard(size)
	}
}

// pair takes one byte more of the text, read as GBK, Big5 and their kind write it.
func (s *script) pair(b byte) {
	switch {
	case s.last == 0:
		if b >= 0x81 && b < 0xFF {
			s.last = b
		}
		return
	case b >= 0x40 && b != 0x7F || b >= '0' && b <= '9':
		s.pairs++
		if b >= 0xA1 {
			s.high++
		}
	default:
		s.pairs++ // a lone byte, as of é in front of a comma
	}
	s.last = 0
}

// encoding names what the text is written in, or nothing where that cannot be told.
//
// The characters of GB 2312, nearly all of any text in GBK, have a second byte from 0xA1 on. In Big5 close to half have
// one below 0x7F, and in Latin-1 what follows a letter with an accent is a plain letter. A text between these is not guessed at:
// taken for another encoding it would give other words, all of them valid.
func (s script) encoding() string {
	if s.broken <= s.wide || s.pairs == 0 {
		return "utf-8"
	}
	switch share := float64(s.high) / float64(max(s.pairs, 1)); {
	case share >= 0.93:
		return "gb18030"
	case share <= 0.1:
		return "latin-1"
	case share >= 0.3 && share <= 0.8:
		return "big5"
	}
	return ""
}

// sniff names the encoding of a text: utf-16 where it begins so.
func sniff(input io.Reader) (string, error) {
	var s script
	marked, err := s.look(input)
	if err != nil {
		return "", err
	}
	if marked {
		return "utf-16", nil
	}
	return s.encoding(), nil
}
