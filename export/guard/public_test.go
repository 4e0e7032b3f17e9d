package guard_test

import (
	"strings"
	"testing"

	"weir/policy"
)

// What is compared with other questions must not depend on a secret, however its conditions stand in each other.
func TestPublicPartsHoldNoSecret(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	for _, sql := range []string{
		"SELECT count(*) FROM adult WHERE race = 'x'",
		"SELECT count(*) FILTER (WHERE race = 'x') FROM adult WHERE race = 'x' OR diagnosis = 'y'",
		"SELECT sum(CASE WHEN race = 'x' THEN 0 ELSE hours_per_week END) FROM adult WHERE race = 'x' OR diagnosis = 'y'",
		"SELECT count(*) FROM adult WHERE (race = 'x' OR diagnosis = 'y') AND NOT (race = 'x')",
		"SELECT count(*) FILTER (WHERE NOT (race = 'x' OR diagnosis = 'y')), count(*) FILTER (WHERE race = 'x') FROM adult WHERE race = 'x' OR diagnosis = 'y'",
		"SELECT diagnosis = 'y', count(*) FROM adult WHERE coalesce(diagnosis = 'y', race = 'x') GROUP BY 1",
		"SELECT count(*) FROM (SELECT * FROM adult WHERE race = 'x') WHERE race = 'x' AND diagnosis = 'y' OR race = 'x'",
		"WITH r AS (SELECT *, race = 'x' AS x FROM adult) SELECT count(*) FROM r a JOIN r b USING (pid) WHERE a.x OR (b.x AND b.diagnosis = 'y')",
	} {
		for _, mode := range []policy.Mode{policy.Exact} {
			program, err := p.check(t.Context(), sql, mode)
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			for _, r := range program.Releases {
				if r.Public == "" {
					t.Errorf("%s has no public part", sql)
				}
				for _, secret := range []string{"race", "diagnosis"} {
					for _, part := range strings.Split(r.Public, " UNION ALL ") {
						if where := part[strings.Index(part, "WHERE"):]; strings.Contains(where, secret) {
							t.Errorf("%s, %s: the public part asks for %s: %s", mode, sql, secret, part)
						}
					}
				}
			}
		}
	}
}
