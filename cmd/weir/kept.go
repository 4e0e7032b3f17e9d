package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"weir/internal/problem"
)

// keptFile is where the newest checkpoint is kept unless the settings name a place on another disk. A store that was
// put back from an older backup does not continue it, and is refused: it would give budgets and quotas back.
const keptFile = "checkpoint"

// keptEvery is how often it is written while the platform runs.
const keptEvery = time.Minute

func (s *settings) keptFile() string {
	if s.Kept != "" {
		return s.Kept
	}
	return filepath.Join(s.Data, keysFolder, keptFile)
}

// continues refuses a log that does not continue the checkpoint that was kept, and has the newest one kept from now on.
func (a *assembly) continues(ctx context.Context, s settings) error {
	kept, err := os.ReadFile(s.keptFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return problem.New("audit.kept-unusable").Because(err)
	default:
		if err := a.log.Continues(ctx, kept); err != nil {
			return err
		}
	}
	a.onClose(func(ctx context.Context) error { return a.keep(context.WithoutCancel(ctx), s) })
	return a.keep(ctx, s)
}

// keep writes the newest checkpoint where it is kept.
func (a *assembly) keep(ctx context.Context, s settings) error {
	note, err := a.log.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if before, err := os.ReadFile(s.keptFile()); err == nil && bytes.Equal(before, note) {
		return nil
	}
	if err := replaceFile(s.keptFile(), string(note)); err != nil {
		if machineProblem(err) != "" {
			return err
		}
		return problem.New("audit.kept-unusable").Because(err)
	}
	return nil
}

// keepNewest keeps the newest checkpoint again and again.
func (a *assembly) keepNewest(ctx context.Context, s settings, log *zap.Logger) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var keeping sync.WaitGroup
	keeping.Go(func() {
		again := time.NewTicker(keptEvery)
		defer again.Stop()
		for {
			select {
			case <-life.Done():
				return
			case <-again.C:
			}
			if err := a.keep(life, s); err != nil && life.Err() == nil {
				log.Error("the newest checkpoint could not be kept", zap.String("code", problem.Of(err).Code), zap.NamedError("cause", problem.Of(err).Unwrap()))
			}
		}
	})
	a.onClose(func(context.Context) error { stop(); keeping.Wait(); return nil })
}
