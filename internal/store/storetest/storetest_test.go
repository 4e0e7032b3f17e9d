package storetest_test

import (
	"testing"

	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
)

func TestEachGivesFreshDatabases(t *testing.T) {
	for range 2 { // the second would find the first one's table
		storetest.Each(t, func(t *testing.T, db *bun.DB) {
			for _, statement := range []string{"CREATE TABLE a (b BIGINT)", "INSERT INTO a VALUES (1)"} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			var sum int
			if err := db.NewRaw("SELECT sum(b) FROM a").Scan(t.Context(), &sum); err != nil || sum != 1 {
				t.Fatalf("sum %d, %v", sum, err)
			}
		})
	}
}
