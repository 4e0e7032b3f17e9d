package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/internal/problem"
)

func (s *server) GetUsage(ctx context.Context, req gen.GetUsageRequestObject) (gen.GetUsageResponseObject, error) {
	format, err := formatOf(ctx)
	if err != nil {
		return nil, err
	}
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	totals, err := s.Acts.Usage(ctx, person, gateway.Days{Operator: given(req.Params.Operator), From: req.Params.From, To: req.Params.To})
	if err != nil {
		return nil, err
	}
	if format == asJSON {
		return gen.GetUsage200JSONResponse{Usage: convert(totals, func(u gateway.Usage) gen.Usage {
			return gen.Usage{
				Day: u.Day, Operator: u.Operator, Grant: u.Grant, Jobs: u.Jobs,
				CPUSeconds: int64(u.CPU / time.Second), WallSeconds: int64(u.Wall / time.Second), ReadBytes: u.Read,
			}
		})}, nil
	}
	list := sheet{{"day", "operator", "grant", "jobs", "cpu_seconds", "wall_seconds", "read_bytes"}}
	for _, u := range totals {
		list.add(u.Day, u.Operator, u.Grant, u.Jobs, int64(u.CPU/time.Second), int64(u.Wall/time.Second), u.Read)
	}
	return list, nil
}

func (s *server) ListUsage(ctx context.Context, req gen.ListUsageRequestObject) (gen.ListUsageResponseObject, error) {
	format, err := formatOf(ctx)
	if err != nil {
		return nil, err
	}
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := s.Acts.JobUsage(ctx, person, gateway.Days{Operator: given(req.Params.Operator), From: req.Params.From, To: req.Params.To})
	if err != nil {
		return nil, err
	}
	if format == asJSON {
		return gen.ListUsage200JSONResponse{Jobs: convert(jobs, func(u gateway.JobUsage) gen.JobUsage {
			return gen.JobUsage{
				Job: u.Job, Operator: u.Operator, Grant: u.Grant, State: gen.JobState(u.State), Started: u.Started, Ended: u.Ended,
				CPUMs: u.CPU.Milliseconds(), WallMs: u.Wall.Milliseconds(), PeakBytes: u.Peak, ReadBytes: u.Read,
			}
		})}, nil
	}
	list := sheet{{"job", "operator", "grant", "state", "started", "ended", "cpu_ms", "wall_ms", "peak_bytes", "read_bytes"}}
	for _, u := range jobs {
		list.add(u.Job, u.Operator, u.Grant, string(u.State), u.Started.Format(time.RFC3339Nano), u.Ended.Format(time.RFC3339Nano),
			u.CPU.Milliseconds(), u.Wall.Milliseconds(), u.Peak, u.Read)
	}
	return list, nil
}

const (
	asJSON = "application/json"
	asCSV  = "text/csv"
)

// formatOf tells which of the formats that a table can have the client wants.
func formatOf(ctx context.Context) (string, error) {
	c, _ := ctx.(*gin.Context)
	if c.GetHeader("Accept") == "" {
		return asJSON, nil
	}
	if format := c.NegotiateFormat(asJSON, asCSV); format != "" {
		return format, nil
	}
	return "", problem.New("api.not-acceptable")
}

// sheet is a table of names and figures, with its header, as CSV (RFC 4180).
type sheet [][]string

func (s *sheet) add(cells ...any) {
	var line []string
	for _, cell := range cells {
		switch cell := cell.(type) {
		case int64:
			line = append(line, strconv.FormatInt(cell, 10))
		case string:
			line = append(line, problem.PlainCell(cell))
		}
	}
	*s = append(*s, line)
}

// VisitGetUsageResponse writes it.
func (s sheet) VisitGetUsageResponse(w http.ResponseWriter) error { return s.write(w) }

// VisitListUsageResponse writes it.
func (s sheet) VisitListUsageResponse(w http.ResponseWriter) error { return s.write(w) }

func (s sheet) write(w http.ResponseWriter) error {
	var text bytes.Buffer
	if err := csv.NewWriter(&text).WriteAll(s); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", "attachment; filename=usage.csv")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(text.Bytes())
	return err
}
