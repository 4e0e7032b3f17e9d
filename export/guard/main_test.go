package guard_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// worker is the real child, built once: plans come from the engine itself.
var worker string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if worker = os.Getenv("WEIR_WORKER"); worker != "" { // linking one takes longer than most of the tests
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "weir-worker-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	worker = filepath.Join(dir, "weir-worker")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo",
		"-ldflags", `-s -w -linkmode external -extldflags "-static -Wl,--no-warnings"`, "-o", worker, "weir/cmd/weir-worker")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("build weir-worker: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// schemaOf reads data sets as testdata/schema.yaml describes them.
func schemaOf(t testing.TB, path string) []policy.Dataset {
	t.Helper()
	var file []struct {
		policy.Dataset `yaml:",inline"`

		Unique bool `yaml:"unique"` // of the only unit key; in a vault it is found at intake
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(content, &file, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var schema []policy.Dataset
	for _, f := range file {
		d := f.Dataset
		for i := range d.Units {
			d.Units[i].Unique = f.Unique
		}
		schema = append(schema, d)
	}
	return schema
}

// planner binds texts over one schema. A text that its process does not survive gets the next one a new process.
type planner struct {
	schema  []policy.Dataset
	planner *sandbox.Planner
	process *sandbox.Planning
	bound   int
	alive   context.Context // of the whole test: a process outlives the case that started it
}

func newPlanner(t testing.TB, schema []policy.Dataset) *planner {
	t.Helper()
	limits := sandbox.DefaultLimits
	limits.Threads = 1
	p := &planner{schema: schema, planner: sandbox.NewPlanner(worker, limits), alive: t.Context()}
	t.Cleanup(func() { p.close() })
	return p
}

func (p *planner) close() {
	if p.process != nil {
		p.process.Close()
		p.process = nil
	}
}

func (p *planner) bind(ctx context.Context, sql string) (sandbox.Bound, error) {
	if p.bound++; p.bound%500 == 0 { // a process has only so much time for all of its calls
		p.close()
	}
	if p.process == nil {
		var err error
		if p.process, err = p.planner.Start(p.alive, p.schema); err != nil {
			return sandbox.Bound{}, err
		}
	}
	bound, err := p.process.Bind(ctx, sql)
	if err != nil {
		if _, alive := p.process.Bind(ctx, "SELECT 1"); alive != nil {
			p.close()
		}
	}
	return bound, err
}

// check binds and checks a text.
func (p *planner) check(ctx context.Context, sql string, mode policy.Mode) (*guard.Program, error) {
	bound, err := p.bind(ctx, sql)
	if err != nil {
		return nil, err
	}
	program, err := guard.Check(sql, bound, p.schema, policy.DefaultRules, mode)
	if err != nil {
		return nil, err
	}
	return program, program.Constants.Hold(ctx, p.process)
}
