package api

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"weir/internal/problem"
)

const (
	requestKey = "weir.request"
	codeKey    = "weir.code" // of the problem, for the operation log
)

// identify numbers the request and chooses its language. A number that the client sends is not taken over: it could
// be somebody else's.
func (s *server) identify(c *gin.Context) {
	id := uuid.NewString()
	c.Set(requestKey, id)
	c.Header("Weir-Request", id)
	speak(c)
}

func requestID(c *gin.Context) string { return c.GetString(requestKey) }

// harden sets the headers that keep a browser from doing anything with an answer but show it. There is no CORS:
// pages of other origins have no business here.
func (s *server) harden(c *gin.Context) {
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Cache-Control", "no-store")
	c.Header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	c.Header("Referrer-Policy", "no-referrer")
	if s.Secure {
		c.Header("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
}

// observe counts the request and writes it to the operation log: its route, never its path, query or body.
func (s *server) observe(c *gin.Context) {
	begin := time.Now()
	defer func() {
		route, took := c.FullPath(), time.Since(begin)
		if route == "" {
			route = "none"
		}
		method := c.Request.Method
		if !slices.Contains(methods, method) {
			method = "other" // anybody can think of as many as they like
		}
		status := strconv.Itoa(c.Writer.Status())
		s.counters.requests.WithLabelValues(method, route, status).Inc()
		s.counters.seconds.WithLabelValues(method, route).Observe(took.Seconds())
		s.Log.Info("request", zap.String("request", requestID(c)), zap.String("method", method),
			zap.String("route", route), zap.String("status", status), zap.String("code", c.GetString(codeKey)),
			zap.Duration("took", took))
	}()
	c.Next()
}

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions}

// counters are the figures about requests.
type counters struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newCounters(registry *prometheus.Registry) (counters, error) {
	c := counters{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_http_requests_total", Help: "Requests by method, route and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_http_request_seconds", Help: "Time to answer by method and route.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"method", "route"}),
	}
	return c, errors.Join(registry.Register(c.requests), registry.Register(c.seconds))
}

// survive turns a panic into the problem "internal". What was thrown can hold data, so only its type is logged,
// unless it is an error of the runtime itself, and where it was thrown.
func (s *server) survive(c *gin.Context) {
	defer func() {
		thrown := recover()
		if thrown == nil {
			return
		}
		if err, ok := thrown.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(thrown)
		}
		what := fmt.Sprintf("%T", thrown)
		if err, ok := thrown.(runtime.Error); ok {
			what = err.Error()
		}
		s.Log.Error("panic", zap.String("request", requestID(c)), zap.String("thrown", what), zap.ByteString("stack", debug.Stack()))
		s.fail(c, problem.New("internal"))
	}()
	c.Next()
}
