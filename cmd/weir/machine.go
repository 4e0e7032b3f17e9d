package main

import (
	"errors"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store"
)

// What is wrong with the machine has words of its own wherever it comes up, so that a full disk is never "try again later".
var _ = problem.Recognise(machineProblem)

func machineProblem(err error) (code string) {
	switch store.FaultOf(err) {
	case store.Full:
		return "platform.disk-full"
	case store.ReadOnly:
		return "platform.disk-read-only"
	case store.Damaged:
		return "platform.store-damaged"
	case store.Descriptors:
		return "platform.few-descriptors"
	}
	switch {
	case errors.Is(err, store.ErrNewer):
		return "platform.store-newer"
	case errors.Is(err, audit.ErrDamaged):
		return "audit.damaged"
	}
	return ""
}
