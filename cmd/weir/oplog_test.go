package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A reader that sleeps keeps nobody waiting, and is told afterwards how much it missed.
func TestOperationLogNeverWaits(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := operationLog("info", writer)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * deafness { // far more than a pipe holds, past the sampler
		log.Core().Write(zapcore.Entry{Message: "m"}, []zap.Field{zap.String("text", strings.Repeat("x", 200))})
	}
	said := make(chan string)
	go func() {
		text, _ := io.ReadAll(reader)
		said <- string(text)
	}()
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if text := <-said; !strings.Contains(text, "lines were lost") {
		t.Errorf("%d bytes came, and nothing of what was lost", len(text))
	}
}

// A reader that is gone is no reason to stop.
func TestOperationLogWithoutReader(t *testing.T) {
	defer outlive()()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	log, err := operationLog("info", writer)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("to nobody")
	if err := log.Sync(); err != nil {
		t.Error(err)
	}
}
