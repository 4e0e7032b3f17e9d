package city

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"
)

// Text is the same in Chinese and in English.
type Text struct {
	Chinese string `yaml:"zh"`
	English string `yaml:"en"`
}

// Grant is one of the demonstration's scenarios. It is held to the platform's default rules.
type Grant struct {
	ID       string `yaml:"id"`
	Operator string `yaml:"operator"` // an organisation
	Scenario string `yaml:"scenario"`
	Title    Text   `yaml:"title"`
	Purpose  Text   `yaml:"purpose"`
	Mode     string `yaml:"mode"`
	Months   int    `yaml:"months"` // term
	Quota    struct {
		JobsPerDay  int `yaml:"jobs_per_day"`
		CellsPerDay int `yaml:"cells_per_day"`
	} `yaml:"quota"`
	Datasets []struct {
		Name    string   `yaml:"name"`
		Columns []string `yaml:"columns"`
	} `yaml:"datasets"`
}

// People are the organisations and the accounts of the demonstration.
type People struct {
	Organisations []Organisation `yaml:"organisations"`
	People        []Person       `yaml:"people"`
}

// Organisation is an authority, a provider, an operator, or whoever else has people on the platform.
type Organisation struct {
	ID         string   `yaml:"id"`
	Capacities []string `yaml:"capacities"` // what it is admitted for
	First      string   `yaml:"first"`      // subject of an operator's first person
	Title      Text     `yaml:"title"`
}

// Person is an account. It has no password here; one is made when the demonstration starts.
type Person struct {
	Subject      string   `yaml:"subject"`
	Name         string   `yaml:"name"`
	Organisation string   `yaml:"organisation"`
	Roles        []string `yaml:"roles"`
}

// Queries are what analysts ask under the grants, and what attackers try.
type Queries struct {
	Questions []Query `yaml:"questions"`
	Attacks   []Query `yaml:"attacks"`
}

// Query is one text of SQL and what the disclosure model makes of it.
type Query struct {
	ID     string `yaml:"id"`
	Grant  string `yaml:"grant"`
	Title  Text   `yaml:"title"`
	Expect string `yaml:"expect"` // released; withheld: without some cells; denied
	Story  string `yaml:"story"`  // the story that it tells, if any: quiet-street, dominant-seller, rare-occupation
	SQL    string `yaml:"sql"`
}

// ParseGrants reads grants.yaml.
func ParseGrants(text []byte) ([]Grant, error) {
	grants, err := parse[[]Grant]("grants", text)
	for _, g := range grants {
		if err == nil && (g.ID == "" || g.Operator == "" || g.Title.incomplete() || g.Purpose.incomplete() || g.Months <= 0 ||
			g.Quota.JobsPerDay <= 0 || g.Quota.CellsPerDay <= 0 || len(g.Datasets) == 0 || !slices.Contains([]string{"exact", "perturbed"}, g.Mode)) {
			err = fmt.Errorf("grants: %q lacks an operator, a title, a purpose, a mode, a term, a quota or data sets", g.ID)
		}
	}
	return grants, err
}

// ParsePeople reads people.yaml.
func ParsePeople(text []byte) (People, error) {
	people, err := parse[People]("people", text)
	known := map[string]bool{}
	for _, o := range people.Organisations {
		if err == nil && (o.ID == "" || known[o.ID] || len(o.Capacities) == 0 || o.Title.incomplete()) {
			err = fmt.Errorf("people: organisation %q needs a name of its own, a capacity and a title", o.ID)
		}
		known[o.ID] = true
	}
	subjects := map[string]bool{}
	for _, p := range people.People {
		if err == nil && (p.Subject == "" || subjects[p.Subject] || p.Name == "" || len(p.Roles) == 0 || !known[p.Organisation]) {
			err = fmt.Errorf("people: %q needs a subject of its own, a name, a known organisation and a role", p.Subject)
		}
		subjects[p.Subject] = true
	}
	return people, err
}

// ParseQueries reads queries.yaml.
func ParseQueries(text []byte) (Queries, error) {
	queries, err := parse[Queries]("queries", text)
	seen := map[string]bool{}
	for _, q := range slices.Concat(queries.Questions, queries.Attacks) {
		if err == nil && (q.ID == "" || seen[q.ID] || q.Grant == "" || q.Title.incomplete() || q.SQL == "") {
			err = fmt.Errorf("queries: %q needs an id of its own, a grant, a title and SQL", q.ID)
		}
		seen[q.ID] = true
	}
	return queries, err
}

func parse[T any](what string, text []byte) (T, error) {
	var value T
	if len(text) == 0 {
		return value, errors.New(what + ": the file is empty")
	}
	if err := yaml.UnmarshalWithOptions(text, &value, yaml.Strict()); err != nil {
		return value, fmt.Errorf("%s: %w", what, err)
	}
	return value, nil
}

func (t Text) incomplete() bool { return t.Chinese == "" || t.English == "" }
