package city

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func demo(t *testing.T) ([]Grant, People, Queries, map[string]Manifest) {
	t.Helper()
	grants, err := ParseGrants(demoFile(t, "grants.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	people, err := ParsePeople(demoFile(t, "people.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	queries, err := ParseQueries(demoFile(t, "queries.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]Manifest{}
	for _, name := range Datasets {
		text, err := manifests.ReadFile("manifests/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if known[name], err = ParseManifest(text); err != nil {
			t.Fatal(err)
		}
	}
	return grants, people, queries, known
}

func (m Manifest) class(column string) string {
	i := slices.IndexFunc(m.Columns, func(c Column) bool { return c.Name == column })
	if i < 0 {
		return ""
	}
	return m.Columns[i].Class
}

// TestGrantsGrantWhatExistsAndNoMore: identifiers only where they are a unit key, never a name, a number or free text.
func TestGrantsGrantWhatExistsAndNoMore(t *testing.T) {
	grants, people, _, known := demo(t)
	var ids, modes []string
	for _, g := range grants {
		ids, modes = append(ids, g.ID), append(modes, g.Mode)
		if !slices.ContainsFunc(people.People, func(p Person) bool { return p.Organisation == g.Operator && slices.Contains(p.Roles, "analyst") }) {
			t.Errorf("%s: operator %s has no analyst", g.ID, g.Operator)
		}
		for _, d := range g.Datasets {
			m, ok := known[d.Name]
			if !ok {
				t.Fatalf("%s: there is no data set %s", g.ID, d.Name)
			}
			for _, c := range d.Columns {
				isKey := slices.ContainsFunc(m.Units, func(u Unit) bool { return u.Key == c })
				if class := m.class(c); class == "" || class == "text" || class == "identifier" && !isKey {
					t.Errorf("%s: %s.%s of class %q is granted", g.ID, d.Name, c, class)
				}
			}
		}
	}
	if want := []string{"real-estate-finance", "housing", "marriage-services", "domestic-services"}; !slices.Equal(ids, want) {
		t.Errorf("grants are %v, want %v", ids, want)
	}
	if want := []string{"perturbed", "perturbed", "exact", "perturbed"}; !slices.Equal(modes, want) {
		t.Errorf("modes are %v, want %v", modes, want)
	}
}

func TestPeopleHoldTheRolesOfOneSide(t *testing.T) {
	_, people, _, known := demo(t)
	holders, titles := map[string]int{}, map[string]string{}
	for _, o := range people.Organisations {
		titles[o.Title.Chinese] = o.ID
	}
	for _, p := range people.People {
		if len(p.Roles) != 1 {
			t.Errorf("%s holds %v", p.Subject, p.Roles)
		}
		holders[p.Roles[0]]++
	}
	for _, role := range []string{"authority", "provider", "operator", "analyst", "officer", "supervisor", "maintainer"} {
		if holders[role] == 0 {
			t.Errorf("nobody is %s", role)
		}
		delete(holders, role)
	}
	if len(holders) > 0 {
		t.Errorf("unknown roles %v", holders)
	}
	for _, m := range known {
		isProvider := func(p Person) bool { return p.Organisation == titles[m.Provider] && p.Roles[0] == "provider" }
		if !slices.ContainsFunc(people.People, isProvider) {
			t.Errorf("%s: %s has no provider's account", m.Name, m.Provider)
		}
	}
}

var word = regexp.MustCompile(`[a-z_0-9]+|'[^']*'`)

// TestQueriesNameOnlyWhatIsGranted: an attack on a column that is not granted would be denied for the wrong reason, and
// a
// granted data set that nobody asks is not needed.
func TestQueriesNameOnlyWhatIsGranted(t *testing.T) {
	grants, _, queries, known := demo(t)
	used := map[string]bool{}
	for _, q := range slices.Concat(queries.Questions, queries.Attacks) {
		i := slices.IndexFunc(grants, func(g Grant) bool { return g.ID == q.Grant })
		if i < 0 {
			t.Fatalf("%s: there is no grant %s", q.ID, q.Grant)
		}
		granted := map[string]bool{}
		for _, d := range grants[i].Datasets {
			granted[d.Name] = true
			for _, c := range d.Columns {
				granted[c] = true
			}
		}
		for _, w := range word.FindAllString(q.SQL, -1) {
			_, isTable := known[w]
			isColumn := false
			for _, m := range known {
				isColumn = isColumn || m.class(w) != ""
			}
			if (isTable || isColumn) && !granted[w] {
				t.Errorf("%s: %s is not granted by %s", q.ID, w, q.Grant)
			}
			used[q.Grant+"."+w] = true
		}
	}
	for _, g := range grants {
		for _, d := range g.Datasets {
			if !used[g.ID+"."+d.Name] {
				t.Errorf("%s: nothing asks %s", g.ID, d.Name)
			}
		}
	}
}

func TestQueriesPerGrant(t *testing.T) {
	grants, _, queries, _ := demo(t)
	stories := []string{"", "quiet-street", "dominant-seller", "rare-occupation"}
	count := map[string]int{}
	for _, q := range queries.Questions {
		count[q.Grant]++
		if q.Expect != "released" && q.Expect != "withheld" || !slices.Contains(stories, q.Story) {
			t.Errorf("%s: expect %q, story %q", q.ID, q.Expect, q.Story)
		}
		count[q.Story]++
	}
	for _, g := range grants {
		if n := count[g.ID]; n < 4 || n > 6 {
			t.Errorf("%s has %d questions", g.ID, n)
		}
	}
	for _, s := range stories[1:] {
		if count[s] == 0 {
			t.Errorf("nobody tells the story %s", s)
		}
	}
	for _, q := range queries.Attacks {
		if q.Expect != "denied" {
			t.Errorf("attack %s: expect %q", q.ID, q.Expect)
		}
	}
	if len(queries.Attacks) < 4 {
		t.Errorf("%d attacks", len(queries.Attacks))
	}
}

func TestDemoFilesAreStrict(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"grants.yaml":  func(b []byte) error { _, err := ParseGrants(b); return err },
		"people.yaml":  func(b []byte) error { _, err := ParsePeople(b); return err },
		"queries.yaml": func(b []byte) error { _, err := ParseQueries(b); return err },
	}
	for _, c := range []struct{ file, old, new string }{
		{"grants.yaml", "mode: exact", "mode: private"},
		{"grants.yaml", "mode: exact", "mode: exact\n  owner: x"},
		{"grants.yaml", "months: 12", "months: 0"},
		{"grants.yaml", "cells_per_day: 600", "cells_per_day: 0"},
		{"grants.yaml", "en: Housing", "en: ''"},
		{"people.yaml", "roles: [authority]", "roles: []"},
		{"people.yaml", "roles: [authority]", "roles: [authority], password: x"},
		{"people.yaml", "organisation: commerce", "organisation: trade"},
		{"people.yaml", "subject: ye.qiuping", "subject: cao.zhiqiang"},
		{"people.yaml", "{id: commerce", "{id: statistics"},
		{"queries.yaml", "- id: raw-rows", "- id: loans-by-bank"},
		{"queries.yaml", "grant: housing", "grants: housing"},
	} {
		good := string(demoFile(t, c.file))
		if !strings.Contains(good, c.old) {
			t.Fatalf("%q is not in %s", c.old, c.file)
		}
		if err := parsers[c.file]([]byte(strings.Replace(good, c.old, c.new, 1))); err == nil {
			t.Errorf("%s with %q: no error", c.file, c.new)
		}
	}
	for file, read := range parsers {
		if read(demoFile(t, file)) != nil || read(nil) == nil {
			t.Errorf("%s must be read, and nothing in its place refused", file)
		}
	}
}
