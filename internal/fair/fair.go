// Package fair takes turns: a bounded number of holders at once, and among those who wait one key after the other, so that
// nobody stands behind all the others of somebody who asks much.
//
// It must never let more than its places be held, and never keep a key waiting behind two turns of another.
package fair

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrFull says that a key has as many waiting as it may.
var ErrFull = errors.New("too many wait already")

// Queue hands out places in turn.
type Queue struct {
	mu      sync.Mutex
	free    int
	each    int // places that one key may hold
	waiting int // that one key may have waiting
	held    map[string]int
	lines   map[string][]chan struct{} // who waits, by key; a closed channel has a place
	order   []string                   // keys with somebody waiting, the next first
}

// New makes a queue of so many places. One key holds at most each of them, and has at most so many waiting.
func New(places, each, waiting int) *Queue {
	return &Queue{free: places, each: each, waiting: waiting, held: map[string]int{}, lines: map[string][]chan struct{}{}}
}

// Take waits for a place, or until ctx ends. done must be called.
func (q *Queue) Take(ctx context.Context, key string) (done func(), err error) {
	mine := make(chan struct{})
	q.mu.Lock()
	if len(q.lines[key]) >= q.waiting && !q.open(key) {
		q.mu.Unlock()
		return nil, ErrFull
	}
	if len(q.lines[key]) == 0 {
		q.order = append(q.order, key)
	}
	q.lines[key] = append(q.lines[key], mine)
	q.serve()
	q.mu.Unlock()
	select {
	case <-mine:
	case <-ctx.Done():
		if !q.leave(key, mine) {
			q.release(key) // it came at the same moment
		}
		return nil, context.Cause(ctx)
	}
	var once sync.Once
	return func() { once.Do(func() { q.release(key) }) }, nil
}

// open reports whether somebody new of a key would be served at once.
func (q *Queue) open(key string) bool {
	return q.free > 0 && q.held[key] < q.each && len(q.lines[key]) == 0
}

func (q *Queue) release(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	if q.held[key]--; q.held[key] == 0 {
		delete(q.held, key)
	}
	q.serve()
}

// leave takes somebody out of the line. It reports false for one who has been served.
func (q *Queue) leave(key string, mine chan struct{}) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(q.lines[key], mine)
	if at < 0 {
		return false
	}
	q.lines[key] = slices.Delete(q.lines[key], at, at+1)
	if len(q.lines[key]) == 0 {
		q.gone(key)
	}
	return true
}

func (q *Queue) gone(key string) {
	delete(q.lines, key)
	q.order = slices.DeleteFunc(q.order, func(k string) bool { return k == key })
}

// serve gives free places to those whose turn it is. Of the keys that wait, the one that holds least comes first, and
// among equals the one that was not served for the longest.
func (q *Queue) serve() {
	for q.free > 0 {
		at := -1
		for i, key := range q.order {
			if q.held[key] < q.each && (at < 0 || q.held[key] < q.held[q.order[at]]) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		next := q.order[at]
		close(q.lines[next][0])
		q.lines[next] = q.lines[next][1:]
		q.free--
		q.held[next]++
		q.order = slices.Delete(q.order, at, at+1)
		if len(q.lines[next]) == 0 {
			delete(q.lines, next)
		} else {
			q.order = append(q.order, next)
		}
	}
}
