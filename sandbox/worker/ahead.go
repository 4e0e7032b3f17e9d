package worker

// ahead reads a source in a goroutine of its own, so that parsing and converting share the work of two processors.
// It gives the same rows and the same fault in the same place.
type ahead struct {
	source  source
	batches chan batch
	batch   batch
	given   int   // rows of the batch
	at      int64 // line of the last row or fault
}

// batch is some rows, and what came after the last of them, if the source ended there: io.EOF or a fault.
type batch struct {
	rows   [][]any
	faults []error // of each row, or nil; the source went on after it
	lines  []int64 // of each row, and of the fault
	err    error
}

const batchRows = 512

func readAhead(s source) *ahead {
	a := &ahead{source: s, batches: make(chan batch, 4)}
	go func() {
		for {
			b := fetch(s)
			a.batches <- b
			if b.err != nil {
				return
			}
		}
	}()
	return a
}

// fetch copies rows out of the source, which uses its slice again.
func fetch(s source) batch {
	b := batch{rows: make([][]any, 0, batchRows), lines: make([]int64, 0, batchRows)}
	for len(b.rows) < batchRows {
		row, err := s.next()
		b.lines = append(b.lines, s.line())
		if err != nil && !ofOneRow(err) {
			b.err = err
			return b
		}
		b.rows = append(b.rows, append(make([]any, 0, len(row)), row...))
		b.faults = append(b.faults, err)
	}
	return b
}

func (a *ahead) next() ([]any, error) {
	for a.given == len(a.batch.rows) {
		if a.batch.err != nil {
			a.at = a.batch.lines[a.given]
			return nil, a.batch.err
		}
		a.batch, a.given = <-a.batches, 0
	}
	a.at = a.batch.lines[a.given]
	a.given++
	return a.batch.rows[a.given-1], a.batch.faults[a.given-1]
}

func (a *ahead) line() int64     { return a.at }
func (a *ahead) undeclared() int { return a.source.undeclared() }
