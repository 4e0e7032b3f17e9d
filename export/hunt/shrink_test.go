package hunt

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/policy"
)

// caught is a find with what is needed to have it again.
type caught struct {
	ground        *ground
	faulty        fault
	first, second rows
	change        change
	mode          policy.Mode
	seed          byte
	story         []question
	found         *find
}

func (c *caught) worlds(ctx context.Context) (a, b *world, err error) {
	if a, err = c.ground.world(ctx, c.first); err != nil {
		return nil, nil, err
	}
	if b, err = c.ground.world(ctx, c.second); err != nil {
		a.close()
	}
	return a, b, err
}

// play asks the story in both worlds, and notes what is found.
func (c *caught) play(ctx context.Context, a, b *world) ([]heard, error) {
	s := story{Mode: c.mode}
	for _, q := range c.story {
		s.Questions = append(s.Questions, q.SQL())
	}
	inA, record, err := a.play(ctx, s, c.seed, nil, c.faulty)
	if err != nil {
		return nil, err
	}
	inB, _, err := b.play(ctx, s, c.seed, record, c.faulty)
	if err != nil {
		return nil, err
	}
	c.found = compare(c.mode, inA, inB, c.change)
	return inA, nil
}

// still reports whether a smaller one has a find of the same kind.
func (c *caught) still(ctx context.Context, a, b *world, smaller *caught) bool {
	_, err := smaller.play(ctx, a, b)
	return err == nil && smaller.found != nil && smaller.found.Kind == c.found.Kind
}

// smaller drops what the find does not need: questions, then their parts, then units.
func (c *caught) smaller(ctx context.Context, log func(string, ...any)) *caught {
	a, b, err := c.worlds(ctx)
	if err != nil {
		log("make a find smaller: %v", err)
		return c
	}
	for again := true; again; {
		again = false
		for _, story := range smallerStories(c.story) {
			one := *c
			if one.story = story; c.still(ctx, a, b, &one) {
				c, again = &one, true
				break
			}
		}
	}
	a.close()
	b.close()
	all := c.unitsIn()
	for size := len(all) / 2; size > 0; size /= 2 {
		for at := 0; at < len(all); {
			drop := all[at:min(at+size, len(all))]
			one := *c
			one.first, one.second = c.without(c.first, drop), c.without(c.second, drop)
			a, b, err := one.worlds(ctx)
			if err != nil {
				at += size // an empty table, for instance
				continue
			}
			if c.still(ctx, a, b, &one) {
				c, all = &one, slices.Delete(all, at, at+len(drop))
			} else {
				at += size
			}
			a.close()
			b.close()
		}
	}
	return c
}

func without(list []string, i int) []string { return slices.Delete(slices.Clone(list), i, i+1) }

// smallerStories are those with one thing less.
func smallerStories(story []question) (all [][]question) {
	for i, q := range story {
		if len(story) > 1 {
			all = append(all, slices.Delete(slices.Clone(story), i, i+1))
		}
		put := func(q question) {
			one := slices.Clone(story)
			one[i] = q
			all = append(all, one)
		}
		for k := range q.Where {
			one := q
			one.Where = without(q.Where, k)
			put(one)
		}
		for k := range q.Groups {
			one := q
			one.Groups = without(q.Groups, k)
			put(one)
		}
		for k := range q.Cells {
			if one := q; len(q.Cells) > 1 {
				one.Cells = without(q.Cells, k)
				put(one)
			}
		}
		if q.Having+q.Tail != "" {
			one := q
			one.Having, one.Tail = "", ""
			put(one)
		}
	}
	return all
}

// unitsIn names the units that could be dropped.
func (c *caught) unitsIn() []string {
	seen := map[string]bool{}
	for _, d := range c.ground.family.tables {
		for _, u := range d.Units {
			for i := range units {
				seen[unitName(u.Domain, i)] = true
			}
		}
	}
	delete(seen, c.change.Unit)
	return slices.Sorted(maps.Keys(seen))
}

func (c *caught) without(data rows, drop []string) rows {
	out := rows{}
	for _, d := range c.ground.family.tables {
		for _, fields := range data[d.Name] {
			if !slices.ContainsFunc(drop, func(name string) bool { return slices.Contains(fields, name) }) {
				out[d.Name] = append(out[d.Name], fields)
			}
		}
	}
	return out
}

// kept is a find as a file in testdata/finds.
type kept struct {
	Why    string            `yaml:"why,omitempty"`
	Family string            `yaml:"family"`
	Change change            `yaml:"change"`
	Seed   byte              `yaml:"seed"` // of the draws
	Story  story             `yaml:"story"`
	First  map[string]string `yaml:"first"`  // rows by table, as CSV
	Second map[string]string `yaml:"second"` // of the tables that differ
}

func (c *caught) file() string {
	k := kept{Why: c.found.String(), Family: c.ground.family.name, Change: c.change, Seed: c.seed, Story: story{Mode: c.mode}, First: map[string]string{}, Second: map[string]string{}}
	for _, q := range c.story {
		k.Story.Questions = append(k.Story.Questions, q.SQL())
	}
	for name, list := range c.first {
		if k.First[name] = csvOf(list); csvOf(list) != csvOf(c.second[name]) {
			k.Second[name] = csvOf(c.second[name])
		}
	}
	text, err := yaml.MarshalWithOptions(k, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func csvOf(list [][]string) string {
	var lines []string
	for _, fields := range list {
		lines = append(lines, strings.Join(fields, ","))
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestFinds plays everything that was ever found again.
func TestFinds(t *testing.T) {
	grounds := map[string]*ground{}
	for _, f := range families(t) {
		grounds[f.name] = newGround(t, f)
	}
	for name, k := range finds(t) {
		g := grounds[k.Family]
		if g == nil {
			t.Fatalf("%s: there is no family %q", name, k.Family)
		}
		c := k.caught(g)
		a, b, err := c.worlds(t.Context())
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := c.play(t.Context(), a, b); err != nil {
			t.Fatal(name, err)
		}
		if c.found != nil {
			t.Errorf("%s is there again: %v\nwhy it was kept: %s", name, c.found, k.Why)
		}
		a.close()
		b.close()
	}
}
