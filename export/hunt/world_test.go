package hunt

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"

	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
	"weir/sandbox/seal"
)

// ground is what all worlds of a test stand on.
type ground struct {
	family   family
	dir      string
	db       *bun.DB
	vault    *sandbox.Vault
	planner  *sandbox.Planner
	workers  *sandbox.Workers
	planning *sandbox.Planning // knows columns and no data, so it serves both worlds
	limits   sandbox.Limits
}

// world is one family's tables in a vault, with a process that reads them.
type world struct {
	*ground
	schema  []policy.Dataset
	session *sandbox.Session
}

func newGround(t testing.TB, f family) *ground {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	g := &ground{family: f, dir: t.TempDir(), db: storetest.Open(t, storetest.SQLite(t)), limits: sandbox.DefaultLimits}
	var err error
	if g.vault, err = sandbox.OpenVault(ctx, filepath.Join(g.dir, "vault"), g.db, worker, seal.Masters{{1}}); err != nil {
		t.Fatal(err)
	}
	g.limits.Wall, g.limits.CPU = g.limits.Wall*500, g.limits.CPU*500 // one process answers many stories
	g.planner, g.workers = sandbox.NewPlanner(worker, g.limits), sandbox.NewWorkers(worker, g.vault, g.limits)
	t.Cleanup(func() {
		if g.planning != nil {
			g.planning.Close()
		}
		g.planner.Close()
		g.workers.Close()
	})
	return g
}

// world takes rows in. It is to be closed.
func (g *ground) world(ctx context.Context, data rows) (*world, error) {
	w := &world{ground: g}
	for _, d := range g.family.tables {
		if err := g.write(d, data[d.Name]); err != nil {
			return nil, err
		}
		taken, err := g.vault.Import(ctx, filepath.Join(g.dir, d.Name+".yaml"))
		if err != nil {
			return nil, err
		}
		w.schema = append(w.schema, taken)
	}
	var err error
	if g.planning == nil {
		if g.planning, err = g.planner.Start(context.WithoutCancel(ctx), w.schema); err != nil {
			return nil, err
		}
	}
	w.session, err = g.workers.Start(context.WithoutCancel(ctx), "hunt", w.schema)
	return w, err
}

func (w *world) close() { w.session.Close() }

func (g *ground) write(d policy.Dataset, list [][]string) error {
	if err := os.WriteFile(filepath.Join(g.dir, d.Name+".yaml"), g.family.manifests[d.Name], 0o600); err != nil {
		return err
	}
	var text bytes.Buffer
	out := csv.NewWriter(&text)
	var header []string
	for _, c := range d.Columns {
		header = append(header, c.Name)
	}
	if err := out.WriteAll(append([][]string{header}, list...)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(g.dir, d.Name+".csv"), text.Bytes(), 0o600)
}
