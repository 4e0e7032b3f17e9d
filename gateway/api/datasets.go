package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/internal/problem"
	"weir/policy"
)

func (s *server) ListDatasets(ctx context.Context, _ gen.ListDatasetsRequestObject) (gen.ListDatasetsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	datasets, err := s.Acts.ListDatasets(ctx, person)
	if err != nil {
		return nil, err
	}
	return gen.ListDatasets200JSONResponse{Datasets: convert(datasets, func(d policy.Dataset) gen.Dataset { return dataset(langOf(ctx), d) })}, nil
}

func (s *server) GetDataset(ctx context.Context, req gen.GetDatasetRequestObject) (gen.GetDatasetResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	d, err := s.Acts.Dataset(ctx, person, req.Dataset)
	if err != nil {
		return nil, err
	}
	return gen.GetDataset200JSONResponse(dataset(langOf(ctx), d)), nil
}

// ImportDataset reads the manifest, and the file only when the gateway asks for it.
func (s *server) ImportDataset(ctx context.Context, req gen.ImportDatasetRequestObject) (gen.ImportDatasetResponseObject, error) {
	c, _ := ctx.(*gin.Context)
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	leave, err := s.uploads.open(person.Subject)
	if err != nil {
		return nil, err
	}
	defer leave()
	patient := &patientReader{
		control: http.NewResponseController(c.Writer), idle: s.Limits.UploadIdle,
		present: func() error { return s.Identity.Present(ctx, person.Session) },
	}
	manifest, err := part(req.Body, "manifest", patient)
	if err != nil {
		return nil, uploadProblem(c, err)
	}
	text, err := io.ReadAll(io.LimitReader(manifest, gateway.MaxManifest+1))
	if err != nil || len(text) > gateway.MaxManifest {
		return nil, uploadProblem(c, err)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, problem.New("api.nul", "where", "manifest")
	}
	d, err := s.Acts.ImportDataset(ctx, person, gateway.Upload{
		Manifest: text,
		File: func() (io.Reader, error) {
			file, err := part(req.Body, "file", patient)
			if err != nil {
				return nil, uploadProblem(c, err)
			}
			return file, nil
		},
	})
	if err != nil {
		if patient.gone != nil {
			return nil, patient.gone
		}
		if patient.failed {
			return nil, uploadProblem(c, err)
		}
		return nil, err
	}
	return gen.ImportDataset201JSONResponse(datasetVersion(langOf(ctx), gateway.ShownVersion{Version: d, Exact: true})), nil
}

// part gives the next part, which must have this name.
func part(body *multipart.Reader, name string, via *patientReader) (io.Reader, error) {
	if err := via.extend(); err != nil {
		return nil, err
	}
	next, err := body.NextPart()
	if err != nil {
		via.failed = true
		return nil, err
	}
	if next.FormName() != name {
		return nil, fmt.Errorf("part %q in place of %q", next.FormName(), name)
	}
	return via.over(next), nil
}

func uploadProblem(c *gin.Context, cause error) error {
	if overlong(c) {
		return problem.New("api.body-too-large").Because(cause)
	}
	return problem.New("api.upload-parts").Because(cause)
}

// patientReader lets an upload take as long as it needs, as long as it goes on.
type patientReader struct {
	control *http.ResponseController
	idle    time.Duration
	from    io.Reader
	failed  bool // the client stopped sending, sent too much, or sent no multipart
	present func() error
	asked   time.Time // when that was asked
	gone    error     // what it said, if the session is over
}

// askAgain is how long an upload goes on at most after its session has ended.
const askAgain = time.Second

func (p *patientReader) over(from io.Reader) io.Reader {
	p.from = from
	return p
}

func (p *patientReader) extend() error {
	err := p.control.SetReadDeadline(time.Now().Add(p.idle))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return takeTime(p.control) // the answer comes after the upload and what is made of it
}

// takeTime lifts the limit on the time to an answer. A test's recorder has no connection, and so no limit.
func takeTime(control *http.ResponseController) error {
	err := control.SetWriteDeadline(time.Time{})
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

func (p *patientReader) Read(b []byte) (int, error) {
	if p.gone == nil && time.Since(p.asked) >= askAgain {
		p.asked, p.gone = time.Now(), p.present()
	}
	if p.gone != nil {
		return 0, p.gone
	}
	if err := p.extend(); err != nil {
		return 0, err
	}
	n, err := p.from.Read(b)
	if err != nil && err != io.EOF {
		p.failed = true
	}
	return n, err
}

func dataset(lang problem.Lang, d policy.Dataset) gen.Dataset {
	return gen.Dataset{
		Name: d.Name, Title: d.Title.In(lang), Provider: d.Provider, Open: d.Open, Version: d.Version, RowsAbout: d.ApproximateRows(),
		Membership: membership(d), Frame: optional(d.Frame), Size: optional(d.Size),
		Units: convert(d.Units, func(u policy.Unit) gen.Unit {
			return gen.Unit{Domain: u.Domain, Key: optional(u.Key), Rows: optional(u.Rows), Protect: gen.UnitProtect(u.Protection())}
		}),
		Columns: convert(d.Columns, func(c policy.Column) gen.Column {
			return gen.Column{
				Name: c.Name, Type: c.Type, Class: gen.ColumnClass(c.Class), Measure: bounds(c.Bound), Title: optional(c.Title.In(lang)),
				Public: optional(c.Public), Values: listed(c.Values), Cap: optional(c.Cap),
			}
		}),
	}
}

// listed leaves out a list that nobody made.
func listed(values []string) *[]string {
	if values == nil {
		return nil
	}
	return &values
}

func membership(d policy.Dataset) gen.DatasetMembership {
	if d.PublicMembership() {
		return gen.DatasetMembership(policy.MembershipPublic)
	}
	return gen.DatasetMembership(policy.MembershipSecret)
}

func bounds(b *policy.Bounds) *gen.Bounds {
	if b == nil {
		return nil
	}
	return &gen.Bounds{Min: b.Min, Max: b.Max}
}
