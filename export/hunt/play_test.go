package hunt

import (
	"context"
	"encoding/json"
	"fmt"

	"weir/export"
	"weir/export/guard"
	"weir/export/noised"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// story is what is asked, one question after the other.
type story struct {
	Mode      policy.Mode `yaml:"mode"`
	Questions []string    `yaml:"questions"`
}

// heard is what comes of a question.
type heard struct {
	SQL    string
	Code   string // of a refusal
	Shown  string // the result as its analyst reads it, or the message
	Public []public
	secret []secret
}

// public is what was decided on a guarded aggregation before any secret is looked at.
type public struct {
	Sizes     [][]any
	Price     noised.Price
	Missing   bool
	Quantiles []int
	Noise     []noised.Noise
}

// secret is what nobody hears: an aggregation as it is without noise.
type secret struct {
	release guard.Release
	public  public
	truth   sandbox.Table
	parts   map[int]sandbox.Table
	drawn   []drawn // what this world drew, in the order of drawing
}

var rules = func() policy.Rules { r := policy.DefaultRules; r.K, r.Digits = 3, 15; return r }()

// player asks in one world. Its mechanism may be a faulty one.
type player struct {
	*world
	faulty fault
	filter *export.Filter
	queue  *export.Queue
	record *record
	last   sandbox.Table
}

var jobs int

// play asks a story. other is the record of the first world, for the second.
func (w *world) play(ctx context.Context, s story, seed byte, other *record, faulty fault) ([]heard, *record, error) {
	p := &player{world: w, faulty: faulty, record: newRecord(seed, other)}
	var err error
	if p.queue, err = export.OpenQueue(ctx, w.db, nil); err != nil {
		return nil, nil, err
	}
	if p.filter, err = export.New(make([]byte, 32), p.queue); err != nil {
		return nil, nil, err
	}
	p.filter.WithRandom(p.faulty.random(p)).WithAnswers(p.faulty.answers(p))
	var all []heard
	for _, sql := range s.Questions {
		h := heard{SQL: sql}
		if err := p.ask(ctx, s.Mode, &h); err != nil {
			q := problem.Of(err)
			h.Code, h.Shown = q.Code, fmt.Sprint(q.In(problem.English), q.At)
			if q.Status() >= 500 {
				h.Shown += " " + causes(err)
			}
		}
		all = append(all, h)
	}
	return all, p.record, nil
}

func causes(err error) string {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err.Error()
		}
		err = u.Unwrap()
	}
}

// ask takes the way that the platform's flow takes.
func (p *player) ask(ctx context.Context, mode policy.Mode, h *heard) error {
	jobs++
	job := fmt.Sprintf("hunt-%d", jobs)
	bound, err := p.planning.Bind(ctx, h.SQL)
	if err != nil {
		return err
	}
	program, err := guard.Check(h.SQL, bound, p.schema, rules, mode)
	if err != nil {
		return err
	}
	if err := program.Constants.Hold(ctx, p.planning); err != nil {
		return err
	}
	a, err := p.filter.Begin(job, program, policy.Decision{Grant: policy.Grant{Operator: job}, Mode: mode, Rules: rules})
	if err != nil {
		return err
	}
	for _, r := range program.Releases {
		if r.Noised == nil {
			err = p.evidence(ctx, a, r)
		} else {
			err = p.answer(ctx, a, r, h)
		}
		if err != nil {
			return err
		}
	}
	table, err := p.planning.Finish(ctx, sandbox.Query{SQL: program.Final.SQL, Tables: a.Tables(program.Final.Reads)})
	if err != nil {
		return err
	}
	verdict, err := a.Judge(p.faulty.final(p, table))
	if err != nil {
		return err
	}
	released, err := p.filter.Release(ctx, verdict, 0)
	if err != nil {
		return err
	}
	text, err := json.Marshal(released)
	if err != nil {
		return err
	}
	var shown map[string]any
	if err := json.Unmarshal(text, &shown); err != nil {
		return err
	}
	delete(shown, "id")
	delete(shown, "ms")
	text, err = json.Marshal(shown)
	h.Shown = string(text)
	return err
}

// answer has a guarded aggregation of a noised mode answered.
func (p *player) answer(ctx context.Context, a *export.Assessment, r guard.Release, h *heard) (err error) {
	q, err := a.Ask(r, p.schema)
	if err != nil {
		return err
	}
	tables := a.Tables(r.Reads)
	s := secret{release: r, parts: map[int]sandbox.Table{}}
	if r.Noised.Proofs != "" {
		proofs, err := p.session.Query(ctx, sandbox.Query{SQL: r.Noised.Proofs, Tables: tables})
		if err != nil {
			return err
		}
		if err := q.Proven(proofs); err != nil {
			return err
		}
	}
	if r.Noised.Sizes != "" {
		sizes, err := p.session.Query(ctx, sandbox.Query{SQL: r.Noised.Sizes, Tables: tables})
		if err != nil {
			return err
		}
		if err := q.Public(sizes); err != nil {
			return err
		}
		s.public.Sizes = sorted(sizes.Rows)
	}
	if s.public.Price, err = q.Price(ctx); err != nil {
		return err
	}
	s.public.Price = p.faulty.price(s.public.Price)
	s.public.Missing, s.public.Quantiles = q.Missing()
	figures, quantiles := q.Noise()
	s.public.Noise = append(figures, quantiles...)
	h.Public = append(h.Public, s.public)
	if s.public.Missing {
		if s.truth, err = p.session.Query(ctx, sandbox.Query{SQL: r.SQL, Tables: tables}); err != nil {
			return err
		}
	}
	for _, i := range s.public.Quantiles {
		if s.parts[i], err = p.session.Query(ctx, sandbox.Query{SQL: r.Noised.Cells[i].Bins, Tables: tables}); err != nil {
			return err
		}
	}
	p.last = s.truth
	if err := p.faulty.refuses(p, s); err != nil {
		return err
	}
	before := len(p.record.log)
	err = q.Answer(ctx, s.truth, s.parts)
	for _, at := range p.record.log[before:] {
		var d drawn
		if err := decode(p.record.drew[at], &d); err != nil {
			return err
		}
		s.drawn = append(s.drawn, d)
	}
	h.secret = append(h.secret, s)
	if err != nil {
		return err
	}
	return a.Answered(r, q)
}

// evidence has a guarded aggregation of exact mode judged.
func (p *player) evidence(ctx context.Context, a *export.Assessment, r guard.Release) error {
	tables := a.Tables(r.Reads)
	if r.Public != "" {
		units, err := p.session.Query(ctx, sandbox.Query{SQL: r.Public, Tables: tables})
		if err != nil {
			return err
		}
		if err := a.Compare(r, units); err != nil {
			return err
		}
	}
	query := func(q sandbox.Query) (sandbox.Table, error) {
		q.Tables = append(q.Tables, tables...)
		return p.session.Query(ctx, q)
	}
	if r.Quick == "" {
		cells, err := query(sandbox.Query{SQL: r.SQL})
		if err != nil {
			return err
		}
		return a.Admit(ctx, r, cells)
	}
	quick, err := query(sandbox.Query{SQL: r.Quick})
	if err != nil {
		return err
	}
	settled := a.Settle(r, quick)
	var exact sandbox.Table
	if rest, open := settled.Open(); open {
		if exact, err = query(rest); err != nil {
			return err
		}
	}
	cells, err := settled.With(exact)
	if err != nil {
		return err
	}
	return a.Admit(ctx, r, cells)
}
