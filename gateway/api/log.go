package api

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"filippo.io/torchwood"
	"github.com/gin-gonic/gin"
	"golang.org/x/mod/sumdb/tlog"

	"weir/audit"
	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/internal/problem"
)

func (s *server) SearchLog(ctx context.Context, req gen.SearchLogRequestObject) (gen.SearchLogResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	p := req.Params
	filter := audit.Filter{
		Kind: given(p.Kind), Actor: given(p.Actor), Grant: given(p.Grant), Job: given(p.Job), Object: given(p.Object),
		From: given(p.From), Until: given(p.Until), After: given(p.After), Limit: limitOf(p.Limit),
	}
	records, err := s.Acts.SearchLog(ctx, person, filter)
	if err != nil {
		return nil, err
	}
	list := gen.LogEntryList{Entries: convert(records, entry)}
	if len(records) == filter.Limit {
		next := records[len(records)-1].Index + 1
		list.Next = &next
	}
	return gen.SearchLog200JSONResponse(list), nil
}

func (s *server) EraseEntry(ctx context.Context, req gen.EraseEntryRequestObject) (gen.EraseEntryResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.EraseEntry204Response{}, s.Acts.EraseEntry(ctx, person, req.Index, req.Body.Reason)
}

func (s *server) GetCheckpoint(ctx context.Context, _ gen.GetCheckpointRequestObject) (gen.GetCheckpointResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	note, err := s.Acts.Checkpoint(ctx, person)
	if err != nil {
		return nil, err
	}
	return gen.GetCheckpoint200TextResponse(note), nil
}

func (s *server) ProveInclusion(ctx context.Context, req gen.ProveInclusionRequestObject) (gen.ProveInclusionResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	receipt, err := s.Acts.ProveInclusion(ctx, person, req.Params.Index)
	if err != nil {
		return nil, err
	}
	size, err := gateway.TreeSize(receipt.Checkpoint)
	if err != nil {
		return nil, err
	}
	leaf := tlog.RecordHash(receipt.Leaf)
	return gen.ProveInclusion200JSONResponse{
		Index: receipt.Index, Size: size, Leaf: encodeHash(leaf), Hashes: convert(receipt.Path, encodeHash),
		Checkpoint: string(receipt.Checkpoint),
	}, nil
}

func (s *server) ProveConsistency(ctx context.Context, req gen.ProveConsistencyRequestObject) (gen.ProveConsistencyResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := s.Acts.ProveConsistency(ctx, person, req.Params.Size)
	if err != nil {
		return nil, err
	}
	return gen.ProveConsistency200JSONResponse{
		From: req.Params.Size, To: proof.To, Hashes: convert(proof.Proof, encodeHash), Checkpoint: string(proof.Checkpoint),
	}, nil
}

func (s *server) VerifyLog(ctx context.Context, _ gen.VerifyLogRequestObject) (gen.VerifyLogResponseObject, error) {
	c, _ := ctx.(*gin.Context)
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	if err := takeTime(http.NewResponseController(c.Writer)); err != nil { // a long log takes minutes
		return nil, err
	}
	done, err := s.verify.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	report, err := s.Acts.VerifyLog(ctx, person)
	if err != nil {
		return nil, err
	}
	out := gen.VerifyLog200JSONResponse{
		Ok: report.OK(), Size: report.Entries, Erased: report.Erased, Root: encodeHash(report.Root), Checkpoint: string(report.Checkpoint),
	}
	out.Findings = convert(report.Faults, func(f audit.Fault) gen.Finding { return gen.Finding{Place: f.Place, Problem: f.Problem} })
	return out, nil
}

// getTile serves the tree to clients of C2SP tlog-tiles, whose paths have slashes in them.
func (s *server) getTile(c *gin.Context) {
	ctx, person, err := asker(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	tile, err := torchwood.ParseTilePath("tile/" + strings.TrimPrefix(c.Param("path"), "/"))
	if err != nil {
		s.fail(c, problem.New("api.no-such-tile").Because(err))
		return
	}
	content, err := s.Acts.Tile(ctx, person, tile)
	if errors.Is(err, fs.ErrNotExist) {
		err = problem.New("api.no-such-tile").Because(err)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/octet-stream", content)
}

func entry(r audit.Record) gen.LogEntry {
	e := gen.LogEntry{
		Index: r.Index, Time: r.Time, Kind: r.Kind,
		Actor: optional(r.Actor), Grant: optional(r.Grant), Job: optional(r.Job), Object: optional(r.Object),
		Payload: optional(strings.ToValidUTF8(string(r.Payload), "\uFFFD")), Erased: optional(r.Erased),
	}
	if len(r.Facts) > 0 {
		e.Facts = &r.Facts
	}
	return e
}

func encodeHash(h tlog.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
