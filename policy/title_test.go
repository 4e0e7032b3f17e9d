package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/internal/problem"
	"weir/policy"
)

// A title is a text or one for each language, in a manifest and in the store, and reads in the person's language.
func TestTitles(t *testing.T) {
	for _, c := range []struct{ yaml, chinese, english, json string }{
		{"居民", "居民", "居民", `"居民"`},
		{"{zh: 居民, en: Residents}", "居民", "Residents", `{"zh":"居民","en":"Residents"}`},
		{"{en: Residents}", "Residents", "Residents", `{"en":"Residents"}`},
		{"{zh: 居民}", "居民", "居民", `{"zh":"居民"}`},
	} {
		var column policy.Column
		if err := yaml.UnmarshalWithOptions([]byte("name: a\ntitle: "+c.yaml+"\n"), &column, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", c.yaml, err)
		}
		text, err := json.Marshal(column.Title)
		if err != nil || string(text) != c.json {
			t.Errorf("%s is kept as %s (%v)", c.yaml, text, err)
		}
		var kept policy.Title
		if err := json.Unmarshal(text, &kept); err != nil || kept != column.Title {
			t.Errorf("%s comes back as %v (%v)", text, kept, err)
		}
		if kept.In(problem.Chinese) != c.chinese || kept.In(problem.English) != c.english {
			t.Errorf("%s reads %q, %q", c.yaml, kept.In(problem.Chinese), kept.In(problem.English))
		}
	}
	for _, bad := range []string{"[a]", "{fr: x}", "{}", `"a\nb"`, `"a\u202eb"`, strings.Repeat("x", 501)} {
		var column policy.Column
		if err := yaml.UnmarshalWithOptions([]byte("name: a\ntitle: "+bad+"\n"), &column, yaml.Strict()); err == nil {
			t.Errorf("%.20s is a title: %+v", bad, column.Title)
		}
	}
}
