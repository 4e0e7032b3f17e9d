package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// question is one input with the answer that the rules must give: "allow" or a reason.
type question struct {
	name  string
	facts facts
	want  string
	spare bool // it is allowed, and would be with a fact less
}

// examples are the questions to one decision: those of a data file.
type examples struct {
	decision  string
	questions []question
}

// allowed are the questions that are allowed and hold no fact that is not needed.
func (x examples) allowed() []question {
	var all []question
	for _, q := range x.questions {
		if q.want == "allow" && !q.spare {
			all = append(all, q)
		}
	}
	return all
}

// queryExamples reads testdata/queries.yaml.
func queryExamples(t testing.TB) examples {
	var file struct {
		Facts facts
		Cases []struct {
			Name  string
			Set   map[string]any
			Want  string
			Spare bool
		}
	}
	load(t, "testdata/queries.yaml", &file)
	x := examples{decision: "data.weir.query.decision"}
	for _, c := range file.Cases {
		x.questions = append(x.questions, question{c.Name, changed(t, file.Facts, c.Set), c.Want, c.Spare})
	}
	return x
}

// actExamples reads testdata/acts.yaml.
func actExamples(t testing.TB) examples {
	var file []struct {
		Act     string
		Is      []Role
		Unit    string
		Object  facts
		Denials []struct {
			Set  map[string]any
			Want string
		}
	}
	load(t, "testdata/acts.yaml", &file)
	x := examples{decision: "data.weir.act.decision"}
	for _, c := range file {
		base := facts{
			"action": c.Act, "object": c.Object,
			"person": facts{"subject": "wang.wei", "organisation": "本单位", "roles": c.Is, "capacities": needed(c.Is)},
		}
		if c.Unit != "" {
			base["person"].(facts)["unit"] = c.Unit
		}
		name := fmt.Sprintf("%s by %v", c.Act, c.Is)
		x.questions = append(x.questions, question{name: name, facts: changed(t, base, nil), want: "allow"})
		for _, d := range c.Denials {
			if roles, given := d.Set["person.roles"].([]any); given && d.Set["person.capacities"] == nil {
				var others []Role
				for _, r := range roles {
					others = append(others, Role(r.(string)))
				}
				d.Set["person.capacities"] = needed(others)
			}
			x.questions = append(x.questions, question{
				name: fmt.Sprintf("%s but %v", name, d.Set), facts: changed(t, base, d.Set), want: d.Want,
			})
		}
	}
	return x
}

// needed are the capacities that an organisation has whose people hold some roles.
func needed(roles []Role) []Capacity {
	all := []Capacity{}
	for _, r := range roles {
		if c := Needs(r); c != "" && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, into, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
}

// changed is a deep copy of the facts in which some, named by their path, have other values.
func changed(t testing.TB, base facts, set map[string]any) facts {
	t.Helper()
	copied := duplicate(t, base)
	for path, value := range set {
		replace(copied, strings.Split(path, "."), value)
	}
	return duplicate(t, copied)
}

func duplicate(t testing.TB, base facts) facts {
	t.Helper()
	text, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	copied := facts{}
	if err := json.Unmarshal(text, &copied); err != nil {
		t.Fatal(err)
	}
	return copied
}

// absent, as a value, takes a fact away.
var absent = new(int)

func replace(node any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	switch n := node.(type) {
	case map[string]any:
		if len(path) == 1 && value == absent {
			delete(n, path[0])
			return n
		}
		n[path[0]] = replace(n[path[0]], path[1:], value)
		return n
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil {
			panic(err)
		}
		if len(path) == 1 && value == absent {
			return append(n[:i:i], n[i+1:]...)
		}
		n[i] = replace(n[i], path[1:], value)
		return n
	}
	panic("no such fact: " + strings.Join(path, "."))
}

// paths lists the place of every fact, objects and arrays included.
func paths(node any) [][]string {
	children := map[string]any{}
	switch n := node.(type) {
	case map[string]any:
		children = n
	case []any:
		for i, v := range n {
			children[strconv.Itoa(i)] = v
		}
	}
	var all [][]string
	for name, child := range children {
		all = append(all, []string{name})
		for _, rest := range paths(child) {
			all = append(all, append([]string{name}, rest...))
		}
	}
	return all
}

func valueAt(node any, path []string) any {
	for _, name := range path {
		switch n := node.(type) {
		case map[string]any:
			node = n[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(n) {
				return nil
			}
			node = n[i]
		default:
			return nil
		}
	}
	return node
}

// spoiled gives, for facts that are allowed, every way to leave one out or to give it in another type.
func spoiled(t testing.TB, q question) []question {
	var all []question
	for _, path := range paths(map[string]any(q.facts)) {
		kind := fmt.Sprintf("%T", valueAt(map[string]any(q.facts), path))
		for _, value := range []any{absent, nil, true, 7.0, "zz", []any{}, []any{"zz"}, map[string]any{}, map[string]any{"zz": 1.0}} {
			if value != absent && fmt.Sprintf("%T", value) == kind {
				continue
			}
			bad := duplicate(t, q.facts)
			replace(map[string]any(bad), path, value)
			all = append(all, question{
				name: fmt.Sprintf("%s, %s = %v", q.name, strings.Join(path, "."), value), facts: bad, want: "deny",
			})
		}
	}
	return all
}

// judge asks one question and says what is wrong with the answer.
func judge(ctx context.Context, prepared rego.PreparedEvalQuery, q question) error {
	a, err := ask(ctx, prepared, q.facts)
	switch {
	case q.want == "deny" && (err != nil || !a.allow):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", q.name, err)
	case q.want == "allow" && a.allow, q.want == a.reason && !a.allow:
		return nil
	}
	return fmt.Errorf("%s: allow %v, reason %q; want %s", q.name, a.allow, a.reason, q.want)
}

func embeddedRules(t testing.TB) map[string]*ast.Module {
	t.Helper()
	modules, err := rules(nil)
	if err != nil {
		t.Fatal(err)
	}
	return modules
}

// TestDecisions runs the cases of the data files: each allow beside its nearest denials.
func TestDecisions(t *testing.T) {
	for _, x := range []examples{queryExamples(t), actExamples(t)} {
		prepared, err := prepare(t.Context(), x.decision, embeddedRules(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range x.questions {
			t.Run(q.name, func(t *testing.T) {
				if err := judge(t.Context(), prepared, q); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestNoFactCanBeMissing leaves out every single fact of everything that is allowed, and gives it in every other
// type: nothing of it may be allowed. The examples therefore hold no fact that is not needed.
func TestNoFactCanBeMissing(t *testing.T) {
	for _, x := range []examples{queryExamples(t), actExamples(t)} {
		prepared, err := prepare(t.Context(), x.decision, embeddedRules(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range x.allowed() {
			for _, bad := range spoiled(t, q) {
				if err := judge(t.Context(), prepared, bad); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// TestEveryActionHasAnAllow holds the list of acts against the cases, so that no act goes untried.
func TestEveryActionHasAnAllow(t *testing.T) {
	tried := map[string]bool{}
	for _, q := range actExamples(t).allowed() {
		tried[q.facts["action"].(string)] = true
	}
	for _, action := range []Action{
		GrantCreate, GrantRead, GrantList, GrantSuspend, GrantRestore, GrantTerminate, GrantHold, GrantLift, AuditErase, DatasetImport, DatasetList,
		DatasetVersions, DatasetCount, DatasetApprove, DatasetRefuse, DatasetWithdraw,
		DatasetDescribe, QueryExplain, JobRead, JobList, JobCancel, BudgetRead, BudgetSet, ReleaseList, ReleaseShow, ReleaseApprove,
		ReleaseRefuse, UserCreate, UserEnable, UserReset, UserRole, UserConfirm, UserRefuse, OrganisationAdmit,
		OrganisationChanged, OrganisationList, UserDisable, UserUnlock, UserList, AuditRead, AuditVerify, PlatformOperate,
	} {
		if !tried[string(action)] {
			t.Errorf("no case allows %s", action)
		}
		delete(tried, string(action))
	}
	for action := range tried {
		t.Errorf("a case allows %s, which is no action", action)
	}
}
