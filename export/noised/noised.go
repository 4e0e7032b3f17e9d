// Package noised answers guarded aggregations of the noised modes: what is asked becomes figures that carry discrete
// Gaussian noise, and each figure that was not answered before has a price.
//
// A Question goes through four steps, in this order: Proven and Public take what is public of it, Price says what it costs, Answer
// takes the figures as they are and keeps them with noise, and Table shows them. Everything that comes before Answer,
// and everything that comes after it, depends on public things and on noisy figures alone. So what an analyst sees
// of the data has the noise that the account was charged for, whatever was asked (zero-concentrated differential
// privacy: Bun & Steinke 2016; Canonne, Kamath & Steinke, The discrete Gaussian for differential privacy, 2020).
//
// It must never look at a figure before noise was added to it, never draw twice for one question, and never answer
// what was not charged.
package noised

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/uptrace/bun"

	"weir/export/guard"
	"weir/export/noise"
	"weir/internal/problem"
	"weir/sandbox"
)

// Answers keeps what was drawn, so that the same question has the same answer; answers.Store does.
type Answers interface {
	Find(ctx context.Context, digest [sha256.Size]byte) (answer []byte, found bool, err error)
	// Keep gives the answer that stands there, which is another one if somebody was first.
	Keep(ctx context.Context, db bun.IDB, digest [sha256.Size]byte, answer []byte) ([]byte, error)
}

// Setting is what a question is asked in.
type Setting struct {
	Answers Answers
	Store   bun.IDB // in which answers are kept
	Random  io.Reader
	K       int                      // groups of fewer units are not shown
	Digits  int                      // the most significant digits of a number
	Data    []string                 // the data sets by name, content and declaration
	Tables  map[string]sandbox.Table // released tables that may be read
}

// Question is one guarded aggregation.
type Question struct {
	Setting
	release guard.Release
	of      *guard.Noised
	units   float64 // how many units a group has, about
	public  []group // which groups there are, where that is public
	small   bool    // some of them have too few units
	figures []asked
	bins    []asked // of each cell, where it is a quantile
}

// group is the values that rows of a group share.
type group []any

// asked is a figure with its price, and its answer.
type asked struct {
	digest [sha256.Size]byte
	sigma  float64 // of the noise, in units of the figure's grid
	rho    float64 // what it costs
	answer *answer
}

// answer is a figure as it is kept: the noisy number of each group that is shown.
type answer struct {
	Groups []group `json:"groups"`
	Values []int64 `json:"values"`
}

// New prepares a question.
func New(r guard.Release, s Setting) (*Question, error) {
	if r.Noised == nil || s.K < 1 {
		return nil, errors.New("a question of a noised mode without figures or a threshold")
	}
	q := &Question{Setting: s, release: r, of: r.Noised}
	if q.units = float64(q.of.Size); len(r.Groups) > 0 {
		q.units /= usualGroups
	}
	if len(q.of.Listed) > 0 {
		q.public = product(q.of.Listed, r.Groups)
	}
	return q, nil
}

// usualGroups is into how many groups units are taken to fall where it is secret which groups there are.
const usualGroups = 8

// mostListed bounds how many groups lists of values may make.
const mostListed = 10_000

// product gives every combination of listed values.
func product(lists [][]string, of []guard.Group) []group {
	all := []group{nil}
	for i, list := range lists {
		if len(all)*len(list) > mostListed {
			return nil
		}
		var longer []group
		for _, g := range all {
			for _, v := range list {
				longer = append(longer, append(slices.Clone(g), valueOf(v, of[i].Type)))
			}
		}
		all = longer
	}
	sortGroups(all)
	return all
}

// Proven takes what the release's proofs brought. How many rows a unit has rests on them: that an open table which is
// looked up has one row for each value.
func (q *Question) Proven(t sandbox.Table) error {
	if len(t.Rows) != 1 || len(t.Rows[0]) == 0 {
		return evidence(errors.New("proofs that bring no row"))
	}
	for _, v := range t.Rows[0] {
		if alike, ok := v.(bool); !ok || !alike {
			return problem.New("export.fan-out")
		}
	}
	return nil
}

// Public takes how many units could be in each group, which its Sizes query brings. Groups of fewer than k are not shown.
// How much noise there is follows from how many others a unit shares its group with, on average.
func (q *Question) Public(t sandbox.Table) error {
	width := len(q.release.Groups)
	q.public = []group{}
	var sum, squares float64
	for _, row := range t.Rows {
		if len(row) != width+1 {
			return errors.New("a row of public sizes has another width")
		}
		n, err := whole(row[width])
		if err != nil {
			return fmt.Errorf("public size: %w", err)
		}
		if n < int64(q.K) {
			q.small = q.small || width > 0
			if width > 0 {
				continue
			}
		}
		units := float64(roundedDown(max(n, int64(q.K))))
		sum, squares = sum+units, squares+units*units
		q.public = append(q.public, slices.Clone(row[:width]))
	}
	if q.units = 0; sum > 0 {
		q.units = squares / sum
	}
	sortGroups(q.public)
	return nil
}

// Scale is the standard deviation of the noise of a figure that one unit can move by one, where so many units share a
// group: three, which a share of one in a hundred of the group's units moves by chance anyway, and more for large groups.
func Scale(units float64) float64 { return 3 * math.Sqrt(1+math.Max(0, units)/1000) }

// Price is what a question costs each unit.
type Price struct {
	Rho   float64
	Delta float64 // where groups are shown or not by what is secret
}

// Price looks up which figures were answered before, and says what the others cost.
func (q *Question) Price(ctx context.Context) (p Price, err error) {
	scale := Scale(q.units)
	for i, f := range q.of.Figures {
		width := math.Sqrt(f.Width2)
		a := asked{sigma: scale * width}
		if a.digest, err = q.digest("figure", f, a.sigma); err != nil {
			return p, err
		}
		if a.sigma > 0 {
			a.rho = noise.Rho(width, a.sigma)
		}
		if err = q.price(ctx, &a, &p); err != nil {
			return p, err
		}
		if i == q.of.Units && q.public == nil && a.answer == nil {
			p.Delta += noise.ThresholdDelta
		}
		q.figures = append(q.figures, a)
	}
	for _, s := range q.of.Cells {
		var a asked
		if s.Bins != "" {
			a.rho = 1 / (2 * scale * scale)
			if a.digest, err = q.digest("quantile", quantile{s.Bins, s.Fraction}, scale); err != nil {
				return p, err
			}
			if err = q.price(ctx, &a, &p); err != nil {
				return p, err
			}
		}
		q.bins = append(q.bins, a)
	}
	return p, nil
}

// Noise says how one figure, or quantile, is answered.
type Noise struct {
	Sigma float64 // of the noise, in units of the figure's grid; 0 for quantiles
	Rho   float64 // what its answer costs
	Kept  bool    // it was answered before, so it costs nothing
}

// Noise says how each figure and the quantile of each cell are answered, once they have their price. For whoever holds
// what units can move to what is charged.
func (q *Question) Noise() (figures, quantiles []Noise) {
	of := func(list []asked) (all []Noise) {
		for _, a := range list {
			all = append(all, Noise{Sigma: a.sigma, Rho: a.rho, Kept: a.answer != nil})
		}
		return all
	}
	return of(q.figures), of(q.bins)
}

// quantile is what a quantile is of.
type quantile struct {
	SQL      string
	Fraction float64
}

// price adds what a figure costs unless its answer is there.
func (q *Question) price(ctx context.Context, a *asked, p *Price) error {
	kept, found, err := q.Answers.Find(ctx, a.digest)
	if err != nil {
		return err
	}
	if !found {
		p.Rho += a.rho
		return nil
	}
	a.answer, err = read(kept)
	return err
}

// digest names a figure: what it is of, and how it is drawn. It decides what is drawn, what comes back, and what is free.
func (q *Question) digest(kind string, of any, sigma float64) (sum [sha256.Size]byte, err error) {
	tables := map[string]sandbox.Table{}
	for _, name := range q.release.Reads {
		t, ok := q.Tables[name]
		if !ok {
			return sum, fmt.Errorf("the released table %s is missing", name)
		}
		tables[name] = t
	}
	text, err := json.Marshal(map[string]any{
		"kind": kind, "of": of, "sigma": strconv.FormatFloat(sigma, 'g', -1, 64), "k": q.K, "sizes": q.of.Sizes, "listed": q.of.Listed,
		"groups": len(q.release.Groups), "data": q.Data, "tables": tables, "shown": q.shownBy(),
	})
	if err != nil {
		return sum, fmt.Errorf("name a figure: %w", err)
	}
	return sha256.Sum256(text), nil
}

// shownBy is the figure that says which groups are shown, where groups are secret.
func (q *Question) shownBy() string {
	if q.of.Units < 0 || len(q.of.Listed) > 0 {
		return ""
	}
	return q.of.Figures[q.of.Units].Of
}

// Missing reports whether figures must be brought, and of which cells the quantiles.
func (q *Question) Missing() (figures bool, quantiles []int) {
	for _, a := range q.figures {
		figures = figures || a.answer == nil
	}
	for i, a := range q.bins {
		if q.of.Cells[i].Bins != "" && a.answer == nil {
			quantiles = append(quantiles, i)
		}
	}
	return figures, quantiles
}

// Answer draws the answers of the figures that are missing, and keeps them. truth is what the release's query brought,
// and parts what each quantile's did.
func (q *Question) Answer(ctx context.Context, truth sandbox.Table, parts map[int]sandbox.Table) error {
	if missing, _ := q.Missing(); missing {
		exact, err := q.exact(truth)
		if err != nil {
			return evidence(err)
		}
		if err := q.draw(ctx, exact); err != nil {
			return err
		}
	}
	for i, t := range parts {
		if q.bins[i].answer == nil {
			if err := q.drawQuantile(ctx, i, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// draw answers figures, the one that says which groups are shown first.
func (q *Question) draw(ctx context.Context, exact map[string][]int64) error {
	order := []int{}
	if q.of.Units >= 0 {
		order = append(order, q.of.Units)
	}
	for i := range q.figures {
		if i != q.of.Units {
			order = append(order, i)
		}
	}
	for _, i := range order {
		a := &q.figures[i]
		if a.answer != nil {
			continue
		}
		groups, err := q.candidates(i, exact)
		if err != nil {
			return evidence(err)
		}
		drawn := &answer{Groups: []group{}, Values: []int64{}}
		for _, g := range groups {
			v := int64(0)
			if of, ok := exact[key(g)]; ok {
				v = of[i]
			}
			if a.sigma > 0 {
				e, err := noise.Gaussian(q.Random, a.sigma)
				if err != nil {
					return evidence(err)
				}
				v += e
			}
			if i == q.of.Units && q.public == nil && float64(v) < q.threshold(a.sigma) {
				continue
			}
			drawn.Groups, drawn.Values = append(drawn.Groups, g), append(drawn.Values, v)
		}
		if a.answer, err = q.keep(ctx, a.digest, drawn); err != nil {
			return err
		}
	}
	return nil
}

// threshold is from which noisy number of units on a group is shown that a secret value made.
func (q *Question) threshold(sigma float64) float64 {
	return math.Max(float64(q.K), q.of.Alone-1+noise.Threshold(sigma, math.Max(1, 2*q.of.Among)))
}

// candidates are the groups of which a figure is drawn: for the one that says which are shown, all that have a unit in
// them after the cut. A unit is in at most so many as the account was charged δ for.
func (q *Question) candidates(i int, exact map[string][]int64) ([]group, error) {
	switch {
	case len(q.release.Groups) == 0:
		return []group{{}}, nil
	case q.public != nil:
		return q.public, nil
	case i != q.of.Units:
		return q.figures[q.of.Units].answer.Groups, nil
	}
	var all []group
	for name, of := range exact {
		if of[i] <= 0 {
			continue // the cut has left nobody of a unit's further groups, and an empty group is not there
		}
		g, err := groupOf(name)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	sortGroups(all)
	return all, nil
}

func (q *Question) keep(ctx context.Context, digest [sha256.Size]byte, a *answer) (*answer, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	stands, err := q.Answers.Keep(ctx, q.Store, digest, text)
	if err != nil {
		return nil, err
	}
	return read(stands)
}

// exact reads the figures as they are, by group.
func (q *Question) exact(t sandbox.Table) (map[string][]int64, error) {
	width := len(q.release.Groups)
	all := map[string][]int64{}
	for _, row := range t.Rows {
		if len(row) != width+len(q.of.Figures) {
			return nil, errors.New("a row of figures has another width")
		}
		values := make([]int64, len(q.of.Figures))
		for i := range values {
			var err error
			if values[i], err = whole(row[width+i]); err != nil {
				return nil, fmt.Errorf("figure %d: %w", i, err)
			}
		}
		all[key(row[:width])] = values
	}
	return all, nil
}

func evidence(err error) error {
	var p *problem.Problem
	if errors.As(err, &p) {
		return err
	}
	return problem.New("export.evidence").Because(err)
}
