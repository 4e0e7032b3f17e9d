// Package city invents the public data of a Chinese city that does not exist, for the demonstration and for tests.
//
// The same parameters give the same files, byte for byte. What is written looks like data that belongs to people, so
// that the disclosure checks have something to do: people who live in households, buy and sell flats, borrow,
// marry, divorce and work for others, under keys that join across the data sets.
//
// Trust boundary: it reads parameters and writes files into one folder, and nothing it writes may ever be mistaken
// for somebody. Identity numbers carry the unassigned region 99 and a wrong check digit, telephone numbers a prefix that
// no operator has. It must never be given real data, and it knows nothing of the engine.
package city

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// Datasets names the data sets in the order in which they are written.
var Datasets = []string{"residents", "property_sales", "mortgages", "marriages", "domestic_workers", "districts"}

// Written says what was written of one data set.
type Written struct {
	Name     string
	Manifest string // path of its description, which names the CSV file beside it
	Rows     int
}

// Summary says what was written, in the order of Datasets.
type Summary struct {
	Datasets []Written
	Rows     int // of all data sets
}

// Generate writes one CSV file and one manifest for each data set into dir, which must exist, and replaces files of
// these names. Rows are streamed; what is kept in memory is what the data sets share: some tens of bytes a resident
// and a sale.
func Generate(ctx context.Context, dir string, p Parameters) (Summary, error) {
	if err := p.validate(); err != nil {
		return Summary{}, err
	}
	g := &generator{ctx: ctx, dir: dir, Parameters: p}
	g.populate()
	g.employ()
	if err := g.tellRareOccupation(); err != nil {
		return Summary{}, err
	}
	for _, step := range []func() error{
		g.writeResidents, g.writeSales, g.writeMarriages, g.writeWorkers, g.writeDistricts,
	} {
		if err := step(); err != nil {
			return Summary{}, err
		}
	}
	return g.summary, nil
}

// generator is one run: the city as it has been invented so far.
type generator struct {
	Parameters
	ctx     context.Context
	dir     string
	summary Summary

	streets []street
	people  []resident
	couples []couple
	workers []worker
}

// table opens the file of a data set, writes its manifest beside it, and gives the rows to fill. The caller closes it.
func (g *generator) table(name string) (*table, error) {
	text, err := manifests.ReadFile("manifests/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", name, err)
	}
	m, err := ParseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, name+".yaml"), text, 0o644); err != nil {
		return nil, err
	}
	return create(g.ctx, filepath.Join(g.dir, m.File), m)
}

// write fills one data set and records it in the summary.
func (g *generator) write(name string, fill func(*table) error) error {
	t, err := g.table(name)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(t), t.close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	g.record(name, t.rows)
	return nil
}

func (g *generator) record(name string, rows int) {
	g.summary.Datasets = append(g.summary.Datasets, Written{
		Name: name, Manifest: filepath.Join(g.dir, name+".yaml"), Rows: rows,
	})
	g.summary.Rows += rows
}

// dice gives the random numbers of one purpose, so that a change to one data set leaves the others as they were.
func (g *generator) dice(purpose string) dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose)) // a hash never fails to take bytes
	return newDice(g.Seed, h.Sum64())
}
