package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	"weir/internal/problem"
)

// What the specification cannot say of a request, and what different readers of it would understand differently.

// The dates that the platform can count: later ones and earlier ones wrap around in nanoseconds since 1970.
var (
	firstDate = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	lastDate  = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

func init() {
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewCallbackValidator(dated(time.RFC3339Nano)))
	openapi3.DefineStringFormatValidator("date", openapi3.NewCallbackValidator(dated(time.DateOnly)))
}

// dated refuses what is no day of the calendar, and a day that the platform could not count.
func dated(layout string) func(string) error {
	return func(text string) error {
		at, err := time.Parse(layout, text)
		if err != nil {
			return errors.New("not a date")
		}
		if at.Before(firstDate) || !at.Before(lastDate) {
			return errors.New("a date beyond the years 1970 to 2261")
		}
		return nil
	}
}

// unsound says which part of a request but its body holds a NUL, which no text of ours may: databases refuse it, and C
// libraries take it for the end.
func unsound(c *gin.Context) (where string, bad bool) {
	if strings.ContainsRune(c.Request.URL.Path, 0) {
		return "path", true
	}
	for name, values := range c.Request.URL.Query() {
		if strings.ContainsRune(name+strings.Join(values, ""), 0) {
			return "query", true
		}
	}
	return "", false
}

// deepest is how far values of a body may be nested.
const deepest = 32

// strictBody reads the body of a request that is JSON, holds it to one meaning, and puts it back.
func strictBody(c *gin.Context) error {
	if c.Request.Body == nil || c.Request.Body == http.NoBody {
		return nil
	}
	text, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return problem.New("api.request-invalid", "where", "body").Because(err)
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(text))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	return oneMeaning(text)
}

// oneMeaning refuses JSON that readers understand differently, with what is wrong with it: a name twice in an object, in
// whatever capitals, since some readers take the first and some the last; something behind the value; a NUL in a text;
// a nesting that no request has. What is no JSON at all is left to the specification to refuse.
func oneMeaning(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := value(d, 0); err != nil {
		if p := (*problem.Problem)(nil); errors.As(err, &p) {
			return p
		}
		return nil
	}
	if _, err := d.Token(); err != io.EOF {
		return problem.New("api.json-trailing")
	}
	return nil
}

func value(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if depth > deepest {
		return problem.New("api.json-deep", "limit", strconv.Itoa(deepest))
	}
	switch token := token.(type) {
	case string:
		if strings.ContainsRune(token, 0) {
			return problem.New("api.nul", "where", "body")
		}
	case json.Delim:
		names := map[string]bool{}
		for d.More() {
			if token == '{' {
				if err := name(d, names); err != nil {
					return err
				}
			}
			if err := value(d, depth+1); err != nil {
				return err
			}
		}
		_, err = d.Token() // the closing one
	}
	return err
}

func name(d *json.Decoder, names map[string]bool) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	text, ok := token.(string)
	if !ok {
		return fmt.Errorf("a name of type %T", token)
	}
	folded := strings.ToLower(text)
	if names[folded] {
		return problem.New("api.json-name-twice")
	}
	if strings.ContainsRune(text, 0) {
		return problem.New("api.nul", "where", "body")
	}
	names[folded] = true
	return nil
}
