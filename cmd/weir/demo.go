package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"weir/deploy"
	"weir/gateway/api/client"
	"weir/gateway/identity"
	"weir/internal/city"
	"weir/internal/problem"
	"weir/policy"
)

type demoCommand struct {
	Once   bool   `help:"End after the walk instead of serving on."`
	Data   string `default:"var/demo" placeholder:"DIR" help:"Folder of the demonstration; what an earlier one left there is deleted."`
	Listen string `default:"127.0.0.1:8440" placeholder:"ADDRESS" help:"Where the demonstration's platform listens; with --once, any free port."`
}

// demoMark is the file that says that a folder is a demonstration's and may be deleted.
const demoMark = ".weir-demo"

// demo is a walk through the platform of an invented city: real processes, real requests, the commands as anybody
// would type them. Only the data, the people and their passwords are made up.
type demo struct {
	*terminal
	dir       string
	people    city.People
	grants    []city.Grant
	queries   city.Queries
	passwords map[string]string
	made      map[string]string // grants as the platform numbered them, by the demonstration's own name
}

var errWalked = errors.New("the walk is over")

// Run generates the city, starts the platform on it, and walks one scenario through.
func (d *demoCommand) Run(ctx context.Context, t *terminal) error {
	w := &demo{terminal: t, passwords: map[string]string{}, made: map[string]string{}}
	var err error
	if w.dir, err = filepath.Abs(d.Data); err != nil {
		return err
	}
	if err := errors.Join(w.read(), w.clear()); err != nil {
		return err
	}
	if err := w.invent(ctx); err != nil {
		return err
	}
	listen := d.Listen
	if d.Once {
		listen = "127.0.0.1:0"
	}
	s, err := readSettings("", []string{"WEIR_DATA=" + filepath.Join(w.dir, "platform"), "WEIR_LISTEN=" + listen, "WEIR_LOG_LEVEL=warn"})
	if err != nil {
		return err
	}
	firsts, err := w.first(ctx, s)
	if err != nil {
		return err
	}
	err = serve(ctx, t, s, func(url string, _ *assembly) error {
		if err := w.walk(ctx, url, firsts); err != nil {
			return err
		}
		if d.Once {
			return errWalked
		}
		w.farewell(url)
		return nil
	})
	if errors.Is(err, errWalked) {
		return nil
	}
	return err
}

// read reads what the demonstration is made of.
func (w *demo) read() error {
	file := func(name string) []byte {
		text, err := deploy.Demo.ReadFile("demo/" + name)
		if err != nil {
			panic("the demonstration lacks " + name) // it is compiled in
		}
		return text
	}
	var errs [3]error
	w.people, errs[0] = city.ParsePeople(file("people.yaml"))
	w.grants, errs[1] = city.ParseGrants(file("grants.yaml"))
	w.queries, errs[2] = city.ParseQueries(file("queries.yaml"))
	return errors.Join(errs[:]...)
}

// clear deletes an earlier demonstration, and nothing that is not one.
func (w *demo) clear() error {
	entries, err := os.ReadDir(w.dir)
	if err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(w.dir, demoMark)); err != nil {
			return problem.New("cli.not-a-demo").Because(err)
		}
		if err := os.RemoveAll(w.dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "city"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, demoMark), nil, 0o600)
}

func (w *demo) invent(ctx context.Context) error {
	text, err := deploy.Demo.ReadFile("demo/city.yaml")
	if err != nil {
		return err
	}
	p, err := city.Parse(text)
	if err != nil {
		return err
	}
	started := time.Now()
	summary, err := city.Generate(ctx, filepath.Join(w.dir, "city"), p)
	if err != nil {
		return err
	}
	w.headline(w.text("A city is invented"))
	for _, s := range summary.Datasets {
		fmt.Fprintf(w.out, "  %-18s %8d\n", s.Name, s.Rows)
	}
	w.say("%d rows in %s; no record is of a real person.", summary.Rows, time.Since(started).Round(10*time.Millisecond).String())
	return nil
}

// first makes the first two accounts, as the platform's maintainer does on its own machine, and gives their first
// passwords.
func (w *demo) first(ctx context.Context, s settings) (map[string]string, error) {
	for i := range w.people.People {
		p := &w.people.People[i]
		if slices.Contains(p.Roles, string(policy.Provider)) {
			p.Organisation = w.organisation(p.Organisation) // providers stand under their own name in the catalogue
		}
		w.passwords[p.Subject] = rand.Text()
	}
	firsts := map[string]string{}
	for _, p := range w.authorities() {
		made, err := bootstrap(ctx, s, identity.Account{Name: p.Subject, DisplayName: p.Name, Organisation: p.Organisation})
		if err != nil {
			return nil, err
		}
		firsts[p.Subject] = made.password
	}
	return firsts, nil
}

// authorities are the two people of the authority.
func (w *demo) authorities() []city.Person {
	return slices.DeleteFunc(slices.Clone(w.people.People), func(p city.Person) bool {
		return !slices.Contains(p.Roles, string(policy.Authority))
	})
}

func (w *demo) organisation(id string) string {
	for _, o := range w.people.Organisations {
		if o.ID == id {
			return o.Title.Chinese
		}
	}
	return id
}

// whoIs finds the first person with a role, in an organisation if one is given.
func (w *demo) whoIs(role policy.Role, organisation ...string) city.Person {
	for _, p := range w.people.People {
		if slices.Contains(p.Roles, string(role)) && (len(organisation) == 0 || p.Organisation == organisation[0]) {
			return p
		}
	}
	panic("the demonstration has nobody who is " + string(role)) // its own tests hold that it has
}

// walk is the story: who does what, in order.
func (w *demo) walk(ctx context.Context, url string, firsts map[string]string) error {
	admit := func(ctx context.Context, url string) error { return w.admit(ctx, url, firsts) }
	steps := []func(context.Context, string) error{admit, w.supply, w.approve, w.grant, w.ask, w.attack, w.review, w.verify}
	for _, step := range steps {
		if err := step(ctx, url); err != nil {
			return err
		}
	}
	return nil
}

// admit has the authority's two people admit the organisations and their people, and signs everybody in: each shows the
// password that they were given and chooses their own.
func (w *demo) admit(ctx context.Context, url string, firsts map[string]string) error {
	w.headline(w.text("The authority admits organisations and people: one duty each, two persons for whoever decides or watches"))
	both := w.authorities()
	for _, p := range both {
		if err := w.enter(ctx, url, p, firsts[p.Subject]); err != nil {
			return err
		}
	}
	for _, o := range w.people.Organisations {
		if err := w.admitOrganisation(ctx, both[0], o); err != nil {
			return err
		}
	}
	for _, p := range w.people.People {
		if slices.Contains(p.Roles, string(policy.Authority)) {
			continue
		}
		first, err := w.admitPerson(ctx, both, p)
		if err != nil {
			return err
		}
		if err := w.enter(ctx, url, p, first); err != nil {
			return err
		}
	}
	if err := w.weir(ctx, 0, "--as", both[0].Subject, "organisation", "list"); err != nil {
		return err
	}
	return w.weir(ctx, 0, "--as", both[0].Subject, "account", "list")
}

func (w *demo) admitOrganisation(ctx context.Context, authority city.Person, o city.Organisation) error {
	if slices.Contains(o.Capacities, string(policy.CapacityAuthority)) {
		return nil // it was founded with its first person
	}
	name := o.ID
	if slices.Contains(o.Capacities, string(policy.CapacityProvider)) {
		name = o.Title.Chinese
	}
	args := []string{"--as", authority.Subject, "organisation", "admit", name, "--reason", w.text("Part of the demonstration")}
	for _, c := range o.Capacities {
		args = append(args, "--capacity", c)
	}
	if o.First != "" {
		args = append(args, "--first", o.First)
	}
	_, err := w.quietly(ctx, "", args...)
	return err
}

// admitPerson makes an account, as whoever may, and gives its first password: an operator admits its own analysts, and
// who decides or watches is confirmed by the authority's second person, who is told the other half.
func (w *demo) admitPerson(ctx context.Context, both []city.Person, p city.Person) (string, error) {
	by := both[0].Subject
	if slices.Contains(p.Roles, string(policy.Analyst)) {
		by = w.whoIs(policy.Operator, p.Organisation).Subject
	}
	args := []string{"--as", by, "account", "create", p.Subject, "--person", p.Name, "--organisation", p.Organisation,
		"--reason", w.text("Part of the demonstration")}
	roles := []policy.Role{}
	for _, r := range p.Roles {
		args, roles = append(args, "--role", r), append(roles, policy.Role(r))
	}
	said, err := w.quietly(ctx, "", args...)
	if err != nil || !policy.NeedsSecond(roles) {
		return lastWord(said), err
	}
	waiting, err := w.quietly(ctx, "", "--as", both[1].Subject, "account", "proposals")
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(waiting), "\n")
	confirmed, err := w.quietly(ctx, "", "--as", both[1].Subject, "account", "confirm", strings.Fields(lines[len(lines)-1])[0])
	return lastWord(said) + lastWord(confirmed), err
}

func lastWord(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '：' })
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

// enter signs somebody in for the first time.
func (w *demo) enter(ctx context.Context, url string, p city.Person, first string) error {
	_, err := w.quietly(ctx, first+"\n"+w.passwords[p.Subject], "--server", url, "login", p.Subject)
	return err
}

// supply has each provider hand in its own data.
func (w *demo) supply(ctx context.Context, _ string) error {
	w.headline(w.text("Providers supply and classify their data"))
	for _, name := range city.Datasets {
		file := filepath.Join(w.dir, "city", name+".yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		m, err := city.ParseManifest(text)
		if err != nil {
			return err
		}
		if err := w.weir(ctx, 0, "--as", w.whoIs(policy.Provider, m.Provider).Subject, "dataset", "import", file); err != nil {
			return err
		}
	}
	return w.weir(ctx, 0, "--as", w.whoIs(policy.Provider).Subject, "dataset", "versions")
}

// approve has the authority look at what was declared. The register comes first: the other data sets name it as frame.
func (w *demo) approve(ctx context.Context, _ string) error {
	w.headline(w.text("The authority reviews what each data set is declared to be; until then no grant sees it"))
	authority := w.whoIs(policy.Authority).Subject
	if err := w.weir(ctx, 0, "--as", authority, "dataset", "versions", "--state", "waiting"); err != nil {
		return err
	}
	for _, name := range city.Datasets {
		args := []string{"--as", authority, "dataset", "approve", name, "1", "--reason", w.text("Classes, units and bounds were checked")}
		if err := w.weir(ctx, 0, args...); err != nil {
			return err
		}
	}
	return w.weir(ctx, 0, "--as", authority, "dataset", "describe", "residents")
}

// grant makes the four scenarios' grants.
func (w *demo) grant(ctx context.Context, _ string) error {
	w.headline(w.text("The authority grants four scenarios: one operator, one purpose, the columns it needs"))
	authority := w.whoIs(policy.Authority)
	for _, g := range w.grants {
		text, err := json.Marshal(map[string]any{
			"operator": g.Operator, "scenario": g.Scenario, "title": g.Title.Chinese, "mode": g.Mode, "datasets": datasetsOf(g),
			"quota": map[string]int{"jobs_per_day": g.Quota.JobsPerDay, "cells_per_day": g.Quota.CellsPerDay},
			"until": time.Now().AddDate(0, g.Months, 0).UTC().Format(time.RFC3339),
		})
		if err != nil {
			return err
		}
		file := filepath.Join(w.dir, g.ID+".json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
		number, err := w.quietly(ctx, "", "--as", authority.Subject, "grant", "create", file)
		if err != nil {
			return err
		}
		w.made[g.ID] = strings.TrimSpace(number)
	}
	return w.weir(ctx, 0, "--as", authority.Subject, "grant", "list")
}

func datasetsOf(g city.Grant) []policy.GrantedDataset {
	var list []policy.GrantedDataset
	for _, d := range g.Datasets {
		list = append(list, policy.GrantedDataset{Name: d.Name, Columns: d.Columns})
	}
	return list
}

// ask shows released tables, and what their withheld cells look like.
func (w *demo) ask(ctx context.Context, _ string) error {
	w.headline(w.text("An analyst asks: counts and sums carry noise, small cells do not appear"))
	for _, id := range []string{"income-by-occupation", "price-by-district", "price-by-street"} {
		if err := w.query(ctx, w.queries.Questions, id, exitReleased); err != nil {
			return err
		}
	}
	return nil
}

// attack shows what is refused, and why.
func (w *demo) attack(ctx context.Context, _ string) error {
	w.headline(w.text("Attacks are refused before data is touched, with a place and a reason"))
	for _, q := range w.queries.Attacks {
		if err := w.query(ctx, w.queries.Attacks, q.ID, exitDenied); err != nil {
			return err
		}
	}
	return nil
}

// query asks one of the demonstration's queries as an analyst of the operator that holds the grant.
func (w *demo) query(ctx context.Context, list []city.Query, id string, expect int) error {
	i := slices.IndexFunc(list, func(q city.Query) bool { return q.ID == id })
	q := list[i]
	title := q.Title.English
	if w.lang == problem.Chinese {
		title = q.Title.Chinese
	}
	fmt.Fprintf(w.out, "\n# %s\n", title)
	return w.weir(ctx, expect, "--as", w.analystOf(q.Grant).Subject, "query", "--grant", w.made[q.Grant], strings.TrimSpace(q.SQL))
}

func (w *demo) analystOf(grant string) city.Person {
	i := slices.IndexFunc(w.grants, func(g city.Grant) bool { return g.ID == grant })
	return w.whoIs(policy.Analyst, w.grants[i].Operator)
}

// review shows an exact result on its way through an officer.
func (w *demo) review(ctx context.Context, _ string) error {
	w.headline(w.text("Exact figures wait for a security officer, who sees what was checked"))
	if err := w.query(ctx, w.queries.Questions, "weddings-by-year", exitWaiting); err != nil {
		return err
	}
	officer, analyst := w.whoIs(policy.Officer), w.analystOf("marriage-services")
	if err := w.weir(ctx, 0, "--as", officer.Subject, "release", "list"); err != nil {
		return err
	}
	text, err := w.quietly(ctx, "", "--as", analyst.Subject, "job", "list")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	job := strings.Fields(lines[len(lines)-1])[0]
	for _, step := range [][]string{
		{"--as", officer.Subject, "release", "show", job},
		{"--as", officer.Subject, "release", "approve", job, "--reason", w.text("Trend by year, no small cells")},
		{"--as", analyst.Subject, "job", "result", job},
	} {
		if err := w.weir(ctx, 0, step...); err != nil {
			return err
		}
	}
	return nil
}

// verify has a supervisor check the log.
func (w *demo) verify(ctx context.Context, _ string) error {
	w.headline(w.text("A supervisor verifies the log that nobody can rewrite unnoticed"))
	supervisor := w.whoIs(policy.Supervisor).Subject
	return errors.Join(
		w.weir(ctx, 0, "--as", supervisor, "audit", "search", "--kind", "job.outcome"),
		w.weir(ctx, 0, "--as", supervisor, "audit", "checkpoint"),
		w.weir(ctx, 0, "--as", supervisor, "audit", "verify"),
	)
}

func (w *demo) farewell(url string) {
	w.headline(w.text("The platform goes on serving; sign in as anybody"))
	shown := table{head: []string{w.text("Account"), w.text("Person"), w.text("Roles"), w.text("Password")}}
	for _, p := range w.people.People {
		roles := make([]client.Role, len(p.Roles))
		for i, r := range p.Roles {
			roles[i] = client.Role(r)
		}
		shown.add(p.Subject, p.Name, roleWords(w.terminal, roles), w.passwords[p.Subject])
	}
	_ = shown.write(w.out)
	w.say("For example: bin/weir --server %s login lin.xiaoyu", url)
	w.say("Ctrl-C ends it.")
}

func (w *demo) headline(text string) {
	fmt.Fprintf(w.out, "\n=== %s\n", text)
}

// weir runs one command line as its person would, and shows it with its output. The command must end as expected.
func (w *demo) weir(ctx context.Context, expect int, args ...string) error {
	fmt.Fprintf(w.out, "\n$ weir %s\n", commandLine(args))
	t := w.person("")
	if code := run(ctx, args, t); code != expect {
		return fmt.Errorf("weir %s ended with %d instead of %d", args[2], code, expect)
	}
	return nil
}

// quietly runs a command line and gives its output instead of showing it. secret is what the person would type.
func (w *demo) quietly(ctx context.Context, secret string, args ...string) (string, error) {
	t := w.person(secret)
	var out, complaint bytes.Buffer
	t.out, t.err = &out, &complaint
	if code := run(ctx, args, t); code != 0 {
		return "", fmt.Errorf("weir %s ended with %d: %s", args[2], code, complaint.String())
	}
	return out.String(), nil
}

// person is the terminal of somebody whose own files are the demonstration's.
func (w *demo) person(secret string) *terminal {
	t := *w.terminal
	t.in = io.Reader(strings.NewReader(secret + "\n"))
	t.err = t.out
	t.keyboard = func() bool { return false }
	t.watched = t.keyboard
	t.config = func() (string, error) { return filepath.Join(w.dir, "people"), nil }
	lang := string(w.lang)
	t.getenv = func(name string) string {
		if name == "LANG" || name == "LC_ALL" {
			return lang
		}
		return ""
	}
	return &t
}

// commandLine writes arguments so that a shell reads them as they are.
func commandLine(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = a
		if strings.ContainsAny(a, " \n*()'<>|&;\"$") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
