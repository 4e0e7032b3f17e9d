package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// deafness is how many lines of the operation log may wait for whoever reads them. More are lost, and that is told.
const deafness = 4096

// sink writes the operation log without ever keeping anybody waiting: whoever reads standard error may sleep, or be gone,
// and the platform goes on.
type sink struct {
	lines chan []byte
	lost  atomic.Int64
	idle  chan chan struct{} // asked to say when all that came before has been written
}

func newSink(to io.Writer) *sink {
	s := &sink{lines: make(chan []byte, deafness), idle: make(chan chan struct{})}
	go s.drain(to)
	return s
}

// Write takes a line, or counts it as lost. It never waits.
func (s *sink) Write(line []byte) (int, error) {
	select {
	case s.lines <- append([]byte(nil), line...):
	default:
		s.lost.Add(1)
	}
	return len(line), nil
}

// farewell is how long the last lines may take.
const farewell = time.Second

// Sync waits until what was said has been written, or a moment where nobody reads it.
func (s *sink) Sync() error {
	written, patience := make(chan struct{}), time.NewTimer(farewell)
	defer patience.Stop()
	select {
	case s.idle <- written:
		<-written
	case <-patience.C:
	}
	return nil
}

// drain writes line after line. That one cannot be written is nobody's fault here: the next may be.
func (s *sink) drain(to io.Writer) {
	for {
		select {
		case line := <-s.lines:
			s.put(to, line)
		case asked := <-s.idle:
			for len(s.lines) > 0 {
				s.put(to, <-s.lines)
			}
			close(asked)
		}
	}
}

func (s *sink) put(to io.Writer, line []byte) {
	if n := s.lost.Swap(0); n > 0 {
		fmt.Fprintf(to, `{"level":"warn","logger":"log","msg":"lines were lost, since nobody read them","lines":%d}`+"\n", n)
	}
	_, _ = to.Write(line)
}

// operationLog is what a maintainer reads: JSON lines on to, never with data or a person's text.
func operationLog(level string, to io.Writer) (*zap.Logger, error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, err
	}
	out := newSink(to)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), out, at)
	core = zapcore.NewSamplerWithOptions(core, time.Second, 100, 100)
	return zap.New(core, zap.AddCaller(), zap.ErrorOutput(out)), nil
}

// outlive keeps the process from being ended by what is no reason to: a reader of its output that is gone, or a terminal
// that is. Both are heard and let pass; ignoring them outright would be handed on to every child.
func outlive() (stop func()) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGPIPE, syscall.SIGHUP)
	return func() { signal.Stop(heard) }
}
