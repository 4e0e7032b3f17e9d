package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"weir/gateway"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

type labCommand struct {
	Dataset []string `required:"" placeholder:"FILE.yaml" help:"The manifest of a data set; may be given several times."`
	Mode    string   `enum:"exact,perturbed,private" default:"perturbed" help:"How results are released: exact, perturbed or private. In exact mode, what an officer would be offered is printed."`
	File    string   `short:"f" placeholder:"CASES.jsonl" help:"Run the queries of a file, a JSON object a line: {\"id\",\"sql\"} or {\"id\",\"steps\":[…]}; - is standard input."`
	Explain bool     `help:"Print the typed plan instead of running the query."`
	SQL     string   `arg:"" optional:"" name:"sql" help:"The SQL."`
}

// labCase is one line of a file of cases. Fields that only an evaluation needs are passed over.
type labCase struct {
	ID    string   `json:"id"`
	SQL   string   `json:"sql"`
	Steps []string `json:"steps"`
}

// labLine is what is printed for one query, beside the result itself.
type labLine struct {
	ID   string `json:"id"`
	Step int    `json:"step"`
}

// Run runs queries on data sets that are at hand, on the same way as a job of the platform, without a server.
func (l *labCommand) Run(ctx context.Context, t *terminal) error {
	cases, err := l.cases(t)
	if err != nil {
		return err
	}
	worker, err := sandbox.FindWorker()
	if err != nil {
		return problem.New("cli.no-worker").Because(err)
	}
	if err := sandbox.CheckConfinement(worker); err != nil {
		return err
	}
	lab, err := gateway.OpenLab(ctx, worker, l.Dataset, policy.Mode(l.Mode))
	if err != nil {
		return err
	}
	defer lab.Close()
	for _, c := range cases {
		for i, sql := range c.Steps {
			if err := l.one(ctx, t, lab, c, i, sql); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *labCommand) one(ctx context.Context, t *terminal, lab *gateway.Lab, c labCase, step int, sql string) error {
	if l.Explain {
		plan, err := lab.Explain(ctx, c.ID, sql)
		if err != nil {
			t.complain(err)
			return status(exitDenied)
		}
		return printLab(t.out, labLine{c.ID, step + 1}, plan)
	}
	released, err := lab.Ask(ctx, c.ID, sql)
	if err != nil {
		return err
	}
	return printLab(t.out, labLine{c.ID, step + 1}, released.In(t.lang))
}

// printLab prints one JSON object: the line's own fields in front, then the result's.
func printLab(w io.Writer, line labLine, result any) error {
	head, err := json.Marshal(line)
	if err != nil {
		return err
	}
	body, err := json.Marshal(result)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return err
	}
	delete(fields, "id") // the job's number is of no use without a platform
	if body, err = json.Marshal(fields); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s,%s\n", strings.TrimSuffix(string(head), "}"), strings.TrimPrefix(string(body), "{"))
	return err
}

func (l *labCommand) cases(t *terminal) ([]labCase, error) {
	if l.SQL != "" {
		return []labCase{{ID: "sql", Steps: []string{l.SQL}}}, nil
	}
	from := t.in
	if l.File == "" {
		return nil, problem.New("cli.no-sql")
	}
	if l.File != "-" {
		f, err := os.Open(l.File)
		if err != nil {
			return nil, problem.New("cli.no-file").Because(err)
		}
		defer f.Close()
		from = f
	}
	var cases []labCase
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var c labCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, problem.New("cli.bad-case", "line", fmt.Sprint(n)).Because(err)
		}
		if c.SQL != "" {
			c.Steps = append([]string{c.SQL}, c.Steps...)
		}
		if c.ID == "" || len(c.Steps) == 0 {
			return nil, problem.New("cli.bad-case", "line", fmt.Sprint(n))
		}
		cases = append(cases, c)
	}
	return cases, errors.Join(lines.Err())
}
