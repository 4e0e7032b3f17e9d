package api

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"weir/gateway/api/gen"
	"weir/internal/problem"
	"weir/policy"
)

func (s *server) GetSpecification(context.Context, gen.GetSpecificationRequestObject) (gen.GetSpecificationResponseObject, error) {
	return gen.GetSpecification200ApplicationYamlResponse{
		Body: bytes.NewReader(Specification), ContentLength: int64(len(Specification)),
	}, nil
}

func (s *server) GetLive(context.Context, gen.GetLiveRequestObject) (gen.GetLiveResponseObject, error) {
	return gen.GetLive200JSONResponse{Status: gen.Ok}, nil
}

func (s *server) GetReady(ctx context.Context, _ gen.GetReadyRequestObject) (gen.GetReadyResponseObject, error) {
	ctx, _, err := stranger(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Ready(ctx); err != nil {
		p := problem.Of(err)
		s.Log.Warn("not ready", zap.String("code", p.Code), zap.Errors("causes", causes(err)))
		if p.Code != "internal" { // the reason has words of its own
			return nil, p
		}
		return nil, problem.New("api.not-ready").Because(err)
	}
	return gen.GetReady200JSONResponse{Status: gen.Ok}, nil
}

// GetMetrics is for the maintainer, and, where the configuration says so, for a collector on the machine itself.
func (s *server) GetMetrics(ctx context.Context, _ gen.GetMetricsRequestObject) (gen.GetMetricsResponseObject, error) {
	if !s.collector(ctx) {
		ctx, person, err := asker(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.Permit.Permit(ctx, person, policy.PlatformOperate, policy.Object{}); err != nil {
			return nil, err
		}
	}
	return figures{s.Metrics}, nil
}

// figures are the metrics in the text format of Prometheus.
type figures struct{ registry *prometheus.Registry }

// VisitGetMetricsResponse writes them.
func (f figures) VisitGetMetricsResponse(w http.ResponseWriter) error {
	handler := promhttp.HandlerFor(f.registry, promhttp.HandlerOpts{DisableCompression: true})
	handler.ServeHTTP(w, &http.Request{Header: http.Header{}}) // no Accept: always the text format
	return nil
}

// collector reports whether the request comes from a program on this machine. One that was handed on by a proxy on
// this machine comes from elsewhere.
func (s *server) collector(ctx context.Context) bool {
	c, ok := ctx.(*gin.Context)
	if !ok || !s.MetricsOnLoopback {
		return false
	}
	for _, forwarded := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(c.Request.Header.Values(forwarded)) > 0 {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(c.Request.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
