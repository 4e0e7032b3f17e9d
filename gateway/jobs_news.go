package gateway

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/store"
)

// newsChannel is where the nodes over one Postgres tell each other what changed. The word only makes things quick:
// what is missed is found by looking, within a turn of watch.
const newsChannel = "weir_jobs"

// What is told: that a job was queued, that one changed, that those of a grant or account are to be stopped.
const newsOfQueue = "queued"

// haltCodes are why jobs are stopped from outside.
var haltCodes = []string{"gateway.job-cancelled", "gateway.grant-closed", "gateway.account-closed"}

func newsOf(job string) string { return "changed " + job }

func haltOf(of column, code string) string { return "halt " + of.name + " " + code + " " + of.value }

// tell tells all nodes, when the transaction commits. SQLite has one process, which knows.
func tell(ctx context.Context, db bun.IDB, news string) error {
	return store.Notify(ctx, db, newsChannel, news)
}

// hear does what was told.
func (j *Jobs) hear(news string) {
	kind, rest, _ := strings.Cut(news, " ")
	switch kind {
	case newsOfQueue:
		j.ring()
	case "changed":
		j.bells.ring(rest)
		j.ring()
	case "halt":
		if words := strings.SplitN(rest, " ", 3); len(words) == 3 && slices.Contains(haltCodes, words[1]) {
			of := column{words[0], words[2]}
			j.interrupt(of.meant, haltedBy(words[1]))
			j.bells.ringAll()
		}
	}
}

// listen hears what other nodes tell, and tries again when the connection is lost.
func (j *Jobs) listen() {
	complaint := complaint{log: j.options.Log, about: "not listening to other nodes"}
	for {
		err := store.Listen(j.base, j.DB, newsChannel, func(news string) {
			complaint.hear(nil)
			j.hear(news)
		})
		if j.base.Err() != nil {
			return
		}
		complaint.hear(err)
		select {
		case <-time.After(time.Second):
		case <-j.base.Done():
			return
		}
	}
}
