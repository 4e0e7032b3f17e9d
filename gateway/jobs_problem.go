package gateway

import (
	_ "embed"

	"weir/internal/problem"
)

var (
	//go:embed problems_jobs.yaml
	jobMessages []byte
	//go:embed problems_acts.yaml
	actMessages []byte

	_ = problem.Register(jobMessages) && problem.Register(actMessages)
)

// JobProblem is a problem as it is remembered with a job: said in every language, because the reader of tomorrow
// may read another one than whoever asked. It holds what a problem may hold, so no data, and not the cause.
type JobProblem struct {
	Code   string                        `json:"code"`
	Status int                           `json:"status"`
	At     problem.Position              `json:"at"`
	Texts  map[problem.Lang]problem.Text `json:"texts"`
}

// Error is the code.
func (p *JobProblem) Error() string { return p.Code }

// In gives the message in a language.
func (p *JobProblem) In(lang problem.Lang) problem.Text { return p.Texts[lang] }

func remember(p *problem.Problem) *JobProblem {
	if p == nil {
		return nil
	}
	texts := map[problem.Lang]problem.Text{}
	for _, lang := range []problem.Lang{problem.Chinese, problem.English} {
		texts[lang] = p.In(lang)
	}
	return &JobProblem{Code: p.Code, Status: p.Status(), At: p.At, Texts: texts}
}
