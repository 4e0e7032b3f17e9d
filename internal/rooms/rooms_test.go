package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThePlanSpeaksOfEveryPair(t *testing.T) {
	for _, gap := range Complete(Plan) {
		t.Error(gap)
	}
}

func TestTheProjectFollowsThePlan(t *testing.T) {
	packages := list(t)
	if len(packages) < 5 {
		t.Fatalf("only %d packages found; the check would prove nothing", len(packages))
	}
	for _, difference := range Check(Plan, Links, packages) {
		t.Error(difference)
	}
}

// list asks the Go tool for every package of the module.
func list(t *testing.T) []Package {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,TestImports,XTestImports,Deps", Module+"/...")
	out, err := command.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list: %v\n%s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	var packages []Package
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p Package
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestCheckFinds(t *testing.T) {
	plan := []Room{
		{Path: "gateway", May: []string{"policy"}, Never: []Wall{{[]string{"gateway/api"}, "no HTTP"}}},
		{Path: "gateway/api", May: []string{"gateway", "policy"}, Tests: []string{"worker"}, Never: []Wall{{[]string{"worker"}, "it faces the network"}}},
		{Path: "policy", Never: []Wall{{[]string{"gateway", "gateway/api"}, "all lean on it"}}},
		{Path: "worker"},
		{Path: "rooms", Alone: true},
	}
	links := []Link{
		{Of: []string{"*"}, Except: []string{"worker"}, Never: []string{"example.org/engine"}, Because: "one engine"},
		{Of: []string{"gateway"}, Never: []string{"net/http"}, Direct: true, Because: "plain Go"},
	}
	for _, c := range []struct {
		name string
		pack Package
		want []string
	}{
		{"an allowed import", Package{ImportPath: "weir/gateway", Imports: []string{"weir/policy", "fmt"}}, nil},
		{"a forbidden import", Package{ImportPath: "weir/policy", Imports: []string{"weir/gateway"}},
			[]string{"policy must not import gateway: all lean on it"}},
		{"a forbidden import of a test", Package{ImportPath: "weir/policy", XTestImports: []string{"weir/gateway"}},
			[]string{"policy must not import gateway: all lean on it"}},
		{"a forbidden import from a folder beneath the room", Package{ImportPath: "weir/policy/rego", Imports: []string{"weir/gateway/flow"}},
			[]string{"policy/rego must not import gateway/flow: all lean on it"}},
		{"a room within a room", Package{ImportPath: "weir/gateway", Imports: []string{"weir/gateway/api/gen"}},
			[]string{"gateway must not import gateway/api/gen: no HTTP"}},
		{"the room around a room", Package{ImportPath: "weir/gateway/api", Imports: []string{"weir/gateway"}}, nil},
		{"an import within the room", Package{ImportPath: "weir/policy", Imports: []string{"weir/policy/rego"}}, nil},
		{"an import that the plan forgot", Package{ImportPath: "weir/worker", Imports: []string{"weir/policy"}},
			[]string{"worker must not import policy: the plan does not allow it"}},
		{"a room that stands alone", Package{ImportPath: "weir/gateway", TestImports: []string{"weir/rooms"}},
			[]string{"gateway must not import rooms: it stands alone"}},
		{"what only tests may import, in a test", Package{ImportPath: "weir/gateway/api", TestImports: []string{"weir/worker"}}, nil},
		{"what only tests may import, in a helper of tests", Package{ImportPath: "weir/gateway/api/apitest", Imports: []string{"weir/worker"}}, nil},
		{"what only tests may import, in a program", Package{ImportPath: "weir/gateway/api", Imports: []string{"weir/worker"}},
			[]string{"gateway/api must not import worker: it faces the network"}},
		{"a helper of tests in a program", Package{ImportPath: "weir/policy", Imports: []string{"weir/policy/policytest"}},
			[]string{"policy must not import policy/policytest: helpers of tests stay out of programs"}},
		{"a helper of tests in a test", Package{ImportPath: "weir/policy", TestImports: []string{"weir/policy/policytest"}}, nil},
		{"a helper of tests in another", Package{ImportPath: "weir/policy/policytest", Imports: []string{"weir/gateway/gatewaytest"}},
			[]string{"policy/policytest must not import gateway/gatewaytest: all lean on it"}},
		{"a folder that is no room", Package{ImportPath: "weir/util"},
			[]string{"util is in no room; put it into one, or add its folder to the plan with what it holds and may import"}},
		{"a folder whose name only begins like a room's", Package{ImportPath: "weir/policyextra"},
			[]string{"policyextra is in no room; put it into one, or add its folder to the plan with what it holds and may import"}},
		{"an engine behind an import", Package{ImportPath: "weir/policy", Deps: []string{"fmt", "example.org/engine/v2"}},
			[]string{"policy must not link example.org/engine/v2: one engine"}},
		{"the engine where it belongs", Package{ImportPath: "weir/worker", Deps: []string{"example.org/engine/v2"}}, nil},
		{"HTTP in the path of a query", Package{ImportPath: "weir/gateway", Imports: []string{"net/http"}, Deps: []string{"net/http"}},
			[]string{"gateway must not import net/http: plain Go"}},
		{"HTTP brought along by a library", Package{ImportPath: "weir/gateway", Deps: []string{"net/http"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.pack.Doc = "Package p is described."
			if diff := cmp.Diff(c.want, Check(plan, links, []Package{c.pack})); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("no package comment", func(t *testing.T) {
		found := Check(plan, links, []Package{{ImportPath: "weir/policy"}})
		want := []string{"policy has no package comment; say what it is for, whom it trusts and what it must never do"}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCompleteFinds(t *testing.T) {
	for _, c := range []struct {
		name string
		plan []Room
		want []string
	}{
		{"nothing", []Room{{Path: "a", May: []string{"b"}}, {Path: "b", Never: []Wall{{[]string{"a"}, "below"}}}}, nil},
		{"a pair without a word", []Room{{Path: "a", May: []string{"b"}}, {Path: "b"}},
			[]string{"the plan speaks 0 times of b importing a; it must once"}},
		{"a pair both allowed and forbidden", []Room{{Path: "a", May: []string{"b"}, Never: []Wall{{[]string{"b"}, "below"}}}, {Path: "b", May: []string{"a"}}},
			[]string{"the plan speaks 2 times of a importing b; it must once"}},
		{"a room that is not there", []Room{{Path: "a", May: []string{"z"}}}, []string{"a speaks of z, which is no room"}},
		{"a program, which nobody can import", []Room{{Path: "cmd/p", Alone: true, May: []string{"a"}}, {Path: "a"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Complete(c.plan)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
