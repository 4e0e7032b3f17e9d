package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"weir/export"
	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/internal/fair"
	"weir/internal/problem"
	"weir/policy"
)

func (s *server) SubmitJob(ctx context.Context, req gen.SubmitJobRequestObject) (gen.SubmitJobResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	j, err := s.Jobs.Submit(ctx, person, req.Params.IdempotencyKey, req.Body.Grant, req.Body.SQL)
	if err != nil {
		return nil, err
	}
	if wait := given(req.Params.Wait); wait > 0 && j.State.Alive() {
		if j, err = s.Jobs.Wait(ctx, j.ID, time.Duration(wait)*time.Second); err != nil {
			return nil, err
		}
	}
	location := "/api/v1/jobs/" + j.ID
	if j.State.Alive() {
		return gen.SubmitJob202JSONResponse{Body: job(ctx, j), Headers: gen.SubmitJob202ResponseHeaders{Location: location}}, nil
	}
	return gen.SubmitJob200JSONResponse{Body: job(ctx, j), Headers: gen.SubmitJob200ResponseHeaders{Location: location}}, nil
}

func (s *server) ListJobs(ctx context.Context, req gen.ListJobsRequestObject) (gen.ListJobsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	limit := limitOf(req.Params.Limit)
	jobs, err := s.Jobs.List(ctx, person, given(req.Params.Before), limit)
	if err != nil {
		return nil, err
	}
	list := gen.JobList{Jobs: convert(jobs, func(j gateway.Job) gen.Job { return job(ctx, j) })}
	if given(req.Params.SQL) {
		for i, j := range jobs {
			if list.Jobs[i], err = s.withWords(ctx, person, j); err != nil {
				return nil, err
			}
		}
	}
	if len(jobs) == limit {
		list.Next = &jobs[limit-1].ID
	}
	return gen.ListJobs200JSONResponse(list), nil
}

func (s *server) GetJob(ctx context.Context, req gen.GetJobRequestObject) (gen.GetJobResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	j, err := s.Jobs.Get(ctx, person, req.Job)
	if err != nil {
		return nil, err
	}
	shown, err := s.withWords(ctx, person, j)
	if err != nil {
		return nil, err
	}
	return gen.GetJob200JSONResponse(shown), nil
}

// withWords is a job with what was said about it.
func (s *server) withWords(ctx context.Context, person policy.Principal, j gateway.Job) (gen.Job, error) {
	words, err := s.Acts.JobWords(ctx, person, j)
	if err != nil {
		return gen.Job{}, err
	}
	shown := job(ctx, j)
	if words.SQL != "" {
		shown.SQL = &words.SQL
	}
	if d := words.Decision; d != nil {
		shown.Decision = &gen.Decision{At: d.At, Reason: d.Reason}
	}
	return shown, nil
}

func (s *server) CancelJob(ctx context.Context, req gen.CancelJobRequestObject) (gen.CancelJobResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	j, err := s.Acts.CancelJob(ctx, person, req.Job)
	if err != nil {
		return nil, err
	}
	return gen.CancelJob200JSONResponse(job(ctx, j)), nil
}

func (s *server) GetResult(ctx context.Context, req gen.GetResultRequestObject) (gen.GetResultResponseObject, error) {
	format, err := formatOf(ctx)
	if err != nil {
		return nil, err
	}
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	released, err := s.Jobs.Result(ctx, person, req.Job)
	if err != nil {
		return nil, err
	}
	pages := 1
	if p := req.Params; p.Page != nil || p.Rows != nil {
		released, pages = released.Page(max(1, given(p.Page)), cmp.Or(given(p.Rows), pageRows))
	}
	if format == asCSV {
		return newReleasedCSV(released, pages)
	}
	headers := gen.GetResult200ResponseHeaders{WeirJob: req.Job, WeirPages: pages}
	return gen.GetResult200JSONResponse{Body: released.In(langOf(ctx)), Headers: headers}, nil
}

// pageRows are the rows of a page of which nothing else is said.
const pageRows = 1000

// releasedCSV is the one thing that can be sent as CSV.
type releasedCSV struct {
	job   string
	pages int
	text  []byte
}

// newReleasedCSV writes the table, if it has left.
func newReleasedCSV(released export.Released, pages int) (releasedCSV, error) {
	var text bytes.Buffer
	err := released.WriteCSV(&text)
	return releasedCSV{released.ID(), pages, text.Bytes()}, err
}

// VisitGetResultResponse sends it.
func (r releasedCSV) VisitGetResultResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", "attachment; filename=result.csv")
	w.Header().Set("Weir-Job", r.job)
	w.Header().Set("Weir-Pages", strconv.Itoa(r.pages))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(r.text)
	return err
}

func (s *server) Explain(ctx context.Context, req gen.ExplainRequestObject) (gen.ExplainResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	if len(req.Body.SQL) > gateway.MaxSQL {
		return nil, problem.New("gateway.sql-too-long", "bytes", "65536")
	}
	done, err := s.explain.Take(ctx, person.Subject)
	if errors.Is(err, fair.ErrFull) {
		return nil, problem.New("api.too-many-explanations")
	}
	if err != nil {
		return nil, problem.New("api.busy").Because(err)
	}
	defer done()
	value, err := s.Deps.Explain.Explain(ctx, person, gateway.Request{Grant: req.Body.Grant, SQL: req.Body.SQL})
	if err != nil {
		return nil, err
	}
	rest, err := s.Acts.Left(ctx, person, req.Body.Grant)
	if err != nil {
		return nil, err
	}
	return explanation{value, left(rest)}, nil
}

// explanation is the typed plan as the guard describes it, and what is left of the quota and the budgets that running the
// query would be charged to.
type explanation struct {
	value any
	left  *gen.Left
}

// VisitExplainResponse writes it.
func (e explanation) VisitExplainResponse(w http.ResponseWriter) error {
	text, err := json.Marshal(e.value)
	if err != nil {
		return err
	}
	whole := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &whole); err != nil {
		return err
	}
	if whole["left"], err = json.Marshal(e.left); err != nil {
		return err
	}
	return writeJSON(w, whole)
}

// writeJSON encodes first, so that a failure is answered with a problem and not with half a document.
func writeJSON(w http.ResponseWriter, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(text)
	return err
}

func job(ctx context.Context, j gateway.Job) gen.Job {
	out := gen.Job{
		ID: j.ID, Grant: j.Grant, State: gen.JobState(j.State),
		Created: j.Created, Started: optional(j.Started), Ended: optional(j.Ended),
	}
	if j.State == gateway.JobRunning {
		out.Progress = &j.Progress
	}
	if j.Problem != nil {
		d := remembered(langOf(ctx), j.Problem, "urn:weir:job:"+j.ID)
		out.Problem = &d
	}
	return out
}

// limitOf is how many items a list may have.
func limitOf(given *gen.Limit) int {
	if given == nil {
		return 100
	}
	return *given
}
