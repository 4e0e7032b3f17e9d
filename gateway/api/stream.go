package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/internal/problem"
	"weir/policy"
)

func (s *server) StreamJob(ctx context.Context, req gen.StreamJobRequestObject) (gen.StreamJobResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	after := 0
	if seen := req.Params.LastEventID; seen != nil {
		if after, err = strconv.Atoi(*seen); err != nil {
			return nil, err
		}
	}
	if _, err := s.Jobs.Get(ctx, person, req.Job); err != nil { // a problem, while an answer can still be one
		return nil, err
	}
	leave, err := s.streams.open(person.Subject)
	if err != nil {
		return nil, err
	}
	return &stream{server: s, ctx: ctx, person: person, job: req.Job, after: after, leave: leave}, nil
}

// stream sends the states of a job as server-sent events (HTML standard, section 9.2).
type stream struct {
	*server
	ctx    context.Context
	person policy.Principal
	job    string
	after  int
	leave  func()
}

// writeTimeout is how long a client may take to read what it was sent.
const writeTimeout = 30 * time.Second

// VisitStreamJobResponse sends events until the job's state is final, the client goes away, or the stream has lived
// long enough; the client then connects again, with a token that is verified again, and goes on where it was.
func (s *stream) VisitStreamJobResponse(w http.ResponseWriter) error {
	defer s.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not hold events back
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	send := func(text string) error {
		err := control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
		return control.Flush()
	}
	if err := send("retry: 2000\n\n"); err != nil {
		return err
	}
	ctx, done := context.WithTimeout(s.ctx, s.Limits.StreamLife)
	defer done()
	stop := stopping(s.ctx)
	go func() { // ends with ctx at the latest
		select {
		case <-stop:
			done()
		case <-ctx.Done():
		}
	}()
	err := s.Jobs.Follow(ctx, s.person, s.job, s.after, s.Limits.Heartbeat, func(event gateway.JobEvent) error {
		data, err := json.Marshal(job(s.ctx, event.Job))
		if err != nil {
			return err
		}
		if event.Number == 0 {
			return send(fmt.Sprintf("event: progress\ndata: %s\n\n", data))
		}
		return send(fmt.Sprintf("id: %d\nevent: state\ndata: %s\n\n", event.Number, data))
	}, func() error { return send(": alive\n\n") })
	if ctx.Err() != nil {
		return nil
	}
	if p := (*problem.Problem)(nil); errors.As(err, &p) && p.Status() < 500 { // it may not be followed any longer
		data, err := json.Marshal(document(p.In(langOf(s.ctx)), p.Code, p.Status(), p.At, "urn:weir:job:"+s.job))
		if err != nil {
			return err
		}
		return send(fmt.Sprintf("event: problem\ndata: %s\n\n", data))
	}
	return err
}
