package hunt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// finds reads the files of testdata/finds.
func finds(t testing.TB) map[string]kept {
	t.Helper()
	files, err := filepath.Glob("testdata/finds/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]kept{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var k kept
		if err := yaml.UnmarshalWithOptions(text, &k, yaml.Strict()); err != nil {
			t.Fatal(file, err)
		}
		all[filepath.Base(file)] = k
	}
	return all
}

func (k kept) caught(g *ground) *caught {
	c := &caught{ground: g, change: k.Change, mode: k.Story.Mode, seed: k.Seed, first: rows{}, second: rows{}}
	for name, text := range k.First {
		c.first[name], c.second[name] = rowsIn(text), rowsIn(text)
	}
	for name, text := range k.Second {
		c.second[name] = rowsIn(text)
	}
	for _, sql := range k.Story.Questions {
		c.story = append(c.story, question{raw: sql})
	}
	return c
}

func rowsIn(text string) (list [][]string) {
	for line := range strings.Lines(text) {
		list = append(list, strings.Split(strings.TrimSuffix(line, "\n"), ","))
	}
	return list
}
