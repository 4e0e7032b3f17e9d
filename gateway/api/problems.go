package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"
	"golang.org/x/text/language"

	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/internal/problem"
)

// fail answers with a problem document. The cause goes to the operation log and nowhere else.
func (s *server) fail(c *gin.Context, err error) {
	document, wait := s.document(c, err), problem.Of(err).Wait()
	if document.Status >= 500 {
		s.Log.Error("request failed", zap.String("request", requestID(c)), zap.String("code", document.Code),
			zap.Errors("causes", causes(err)))
	}
	c.Set(codeKey, document.Code)
	if c.Writer.Written() {
		s.brokenOff(c, err)
		return
	}
	text, err := json.Marshal(document)
	if err != nil { // plain strings and numbers: it cannot happen
		panic(err)
	}
	if document.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="weir"`)
	}
	if wait > 0 { // else nobody knows when, and a guess would be believed
		c.Header("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	c.Abort()
	c.Data(document.Status, "application/problem+json", text)
}

// causes unfolds an error: a problem's own text does not hold its cause.
func causes(err error) []error {
	all := []error{err}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			all = append(all, causes(cause)...)
		}
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			all = append(all, causes(cause)...)
		}
	}
	return all
}

func (s *server) document(c *gin.Context, err error) gen.Problem {
	instance := "urn:weir:request:" + requestID(c)
	var past *gateway.JobProblem
	if errors.As(err, &past) {
		return remembered(langOf(c), past, instance)
	}
	p := problem.Of(err)
	return document(p.In(langOf(c)), p.Code, p.Status(), p.At, instance)
}

// remembered is the document of what was wrong with a job.
func remembered(lang problem.Lang, p *gateway.JobProblem, instance string) gen.Problem {
	return document(p.In(lang), p.Code, p.Status, p.At, instance)
}

func document(text problem.Text, code string, status int, at problem.Position, instance string) gen.Problem {
	d := gen.Problem{
		Type: problem.Type(code), Code: code, Status: status,
		Title: text.Title, Detail: text.Detail, Help: text.Help, Instance: instance,
	}
	if at.Line > 0 {
		d.Line = &at.Line
	}
	if at.Column > 0 {
		d.Column = &at.Column
	}
	return d
}

// malformed answers for a request that could not be decoded.
func (s *server) malformed(c *gin.Context, err error) {
	if overlong(c) {
		s.fail(c, problem.New("api.body-too-large"))
		return
	}
	if errors.Is(err, http.ErrNotMultipart) || errors.Is(err, http.ErrMissingBoundary) {
		s.fail(c, problem.New("api.content-type").Because(err))
		return
	}
	s.fail(c, problem.New("api.request-invalid").Say("faults", "the request cannot be read", "无法读取请求").Because(err))
}

// brokenOff ends an answer that has begun and cannot be finished. Nothing can be taken back; the connection is cut,
// so that the client does not take a part for the whole.
func (s *server) brokenOff(c *gin.Context, err error) {
	if c.Request.Context().Err() == nil {
		s.Log.Warn("answer broken off", zap.String("request", requestID(c)), zap.Error(err))
	}
	panic(http.ErrAbortHandler)
}

var languages = language.NewMatcher([]language.Tag{language.Chinese, language.English})

type langKey struct{}

// speak chooses the language of the answer (RFC 9110, section 12.5.4). Chinese is the default.
func speak(c *gin.Context) {
	chosen := problem.Chinese
	if _, i := language.MatchStrings(languages, c.GetHeader("Accept-Language")); i == 1 {
		chosen = problem.English
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), langKey{}, chosen))
	c.Header("Content-Language", string(chosen))
	c.Header("Vary", "Accept, Accept-Language")
}

func langOf(ctx context.Context) problem.Lang {
	if chosen, ok := ctx.Value(langKey{}).(problem.Lang); ok {
		return chosen
	}
	return problem.Chinese
}
